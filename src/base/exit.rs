//! How the daemons end: their exit statuses, in one place, and what a bug does.

/// Exit status for invalid settings or keys: `EX_CONFIG` of sysexits(3). The unit does not restart
/// on it, because only an administrator can fix that.
pub const EXIT_CONFIG: u8 = 78;

/// Exit status where the bus name is taken: `EX_UNAVAILABLE` of sysexits(3).
pub const EXIT_UNAVAILABLE: u8 = 69;

/// Exit status for a bug: `EX_SOFTWARE` of sysexits(3).
pub const EXIT_SOFTWARE: u8 = 70;

/// From here on a bug ends the process at once with [`EXIT_SOFTWARE`] and a line that names the
/// place. A single dead task would be worse: it would not be restarted. `finish` gets that line
/// out.
pub fn end_at_a_bug(finish: impl Fn() + Send + Sync + 'static) {
    std::panic::set_hook(Box::new(move |bug| {
        tracing::error!("a bug, please report it: {bug}");
        finish();
        std::process::exit(i32::from(EXIT_SOFTWARE));
    }));
}
