//! Names for zsh.

use super::Names;

/// Another action for the argument of each of those commands.
pub(super) fn added(names: &Names, script: &str) -> Result<String, String> {
    let mut lines = Lines {
        names,
        group: "",
        command: None,
        found: 0,
        options: Vec::new(),
    };
    let mut changed = String::new();
    for line in script.lines() {
        changed += &lines.changed(line);
    }
    let expected = names.commands.len() + names.values.len() + 3 * names.groups.len();
    if lines.found != expected {
        return Err(format!(
            "zsh: {} places of {} take names, not {expected}",
            lines.found, names.program
        ));
    }
    if expected == 0 {
        return Ok(changed);
    }
    let switches = names.switches.iter();
    let switches = switches.map(|switch| format!("    more+=(${{(M)all:#{switch}}})\n"));
    let place = names.place.map(|place| {
        format!(
            "    more+=(${{(M)all:#{place}=*}})\n    \
                 (( ${{all[(I){place}]}} )) && more+=({place} \"${{all[${{all[(I){place}]}}+1]}}\")\n"
        )
    });
    let function = ZSH
        .replace("@switches@\n", &switches.collect::<String>())
        .replace("@place@\n", &place.unwrap_or_default())
        .replace("@program@", names.program)
        .replace("@ask@", names.ask)
        .replace(
            "@typed@",
            if names.takes_typed() {
                "-- ${(Q)PREFIX}"
            } else {
                ""
            },
        );
    // In front of what the file does when it is loaded.
    let end = changed
        .rfind("\nif [ \"$funcstack[1]\"")
        .ok_or("zsh: the script ends in another way")?;
    changed.insert_str(end, &function);
    Ok(changed)
}

/// The words of the line, without their quotes, say what is asked for.
const ZSH: &str = r#"
(( $+functions[_@program@_names] )) ||
_@program@_names() {
    local -a all more names taken
    all=(${(Q)${(z)LBUFFER}})
@switches@
@place@
    names=(${(f)"$(@program@ @ask@ $more $1 @typed@ 2>/dev/null)"})
    taken=($all)
    [[ -z "$PREFIX" ]] || taken[-1]=()
    names=(${names:|taken})
    compadd -S "" -- ${(M)names:#*\[}
    compadd -- ${names:#*\[}
}
"#;

/// Where in a script this is.
struct Lines<'a> {
    names: &'a Names,
    group: &'a str,
    command: Option<&'a str>,
    found: usize,
    /// What the group takes besides names, where it takes such.
    options: Vec<&'a str>,
}

impl<'a> Lines<'a> {
    fn changed(&mut self, line: &'a str) -> String {
        let unchanged = format!("{line}\n");
        let header = line.trim().strip_prefix('(');
        if let Some(command) = header.and_then(|rest| rest.strip_suffix(')')) {
            if self.names.command_groups().contains(&command) {
                if self.group != command {
                    self.options.clear();
                }
                self.group = command;
            }
            self.command = Some(command);
        }
        let in_group = self.command == Some(self.group);
        let of_group = self
            .names
            .groups
            .iter()
            .find(|(group, _)| *group == self.group);
        let of_group = of_group.map(|(_, kind)| *kind);
        // An argument, where options begin with a dash or a parenthesis: '::NAME -- HELP:ACTION' \
        let is_argument = ["'::", "'*::", "':"]
            .iter()
            .any(|start| line.starts_with(start));
        let is_argument = is_argument && line.contains(" -- ");
        let head = line.rsplit_once(':').map_or(line, |(head, _)| head);
        if let (Some(kind), true) = (of_group, in_group) {
            if is_argument {
                // Names and commands are at the same place.
                self.found += 1;
                return String::new();
            }
            if line.contains("_commands\" \\") {
                self.found += 1;
                let commands = line.trim_start_matches("\":: :").trim_end_matches("\" \\");
                return format!("':: :{{{commands}; {}}}' \\\n", self.call(kind));
            }
            if line.starts_with('\'') {
                self.options.push(line);
            }
        }
        if let Some(kind) = of_group {
            // The second word is the command where names are no place of their own.
            let second = line.contains("$line[2]");
            if second {
                return unchanged.replace("$line[2]", "$line[1]");
            }
            if line.trim() == "esac" && !self.options.is_empty() && !in_group {
                self.found += 1;
                let options = std::mem::take(&mut self.options).join("\n");
                return format!(
                    "(*)\n_arguments \"${{_arguments_options[@]}}\" : \\\n{options}\n\
                     '*:: :{{{}}}' \\\n&& ret=0\n;;\n{unchanged}",
                    self.call(kind)
                );
            }
        }
        let value = self.names.values.iter().find(|(path, option, _)| {
            matches!(path, [in_group, name] if *in_group == self.group && Some(*name) == self.command)
                && line.contains(&format!("{option}=["))
        });
        let wanted = self.names.commands.iter().find(|(path, _)| match path {
            [] => self.command.is_none(),
            [name] => self.command == Some(name),
            [in_group, name] => *in_group == self.group && self.command == Some(name),
            _ => false,
        });
        let kind = match (value, wanted) {
            (Some((.., kind)), _) => kind,
            (None, Some((_, kind))) if is_argument => kind,
            _ => return unchanged,
        };
        self.found += 1;
        format!("{head}:{{{}}}' \\\n", self.call(kind))
    }

    fn call(&self, kind: &str) -> String {
        format!("_{}_names {kind}", self.names.program)
    }
}
