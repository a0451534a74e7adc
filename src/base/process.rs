//! What the kernel reports about a process.

/// The resident pages from the text of /proc/PID/statm (`proc_pid_statm(5)`); None if the text is
/// malformed.
#[must_use]
pub fn resident_pages(text: &[u8]) -> Option<u64> {
    let line = text.strip_suffix(b"\n")?;
    let field = line.split(|&byte| byte == b' ').nth(1)?;
    std::str::from_utf8(field).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_field_is_the_resident_size() {
        assert_eq!(resident_pages(b"4711 815 7 1 0 3 0\n"), Some(815));
        for text in [
            &b""[..],
            b"\n",
            b"1\n",
            b"1 x 2\n",
            b"1 2 3",
            b"1 -2\n",
            b"1 \xff\n",
        ] {
            assert_eq!(resident_pages(text), None);
        }
    }
}
