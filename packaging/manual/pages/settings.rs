//! The settings, from the table that every layer is checked against.

use metrics_agent::config::table::{Schema, Setting, is_chosen};

use super::roff::text;

/// A heading for each section of the file, below it a paragraph for each setting.
pub(super) fn settings(schema: &Schema) -> String {
    let mut page = String::new();
    let section = |setting: &Setting| setting.key.rsplit_once('.').map(|(section, _)| section);
    for settings in schema.settings.chunk_by(|a, b| section(a) == section(b)) {
        if let Some(section) = settings.first().and_then(section) {
            page.extend([".SS [", &text(section), "]\n"]);
        }
        for setting in settings {
            page.push_str(&paragraph(schema, setting));
        }
    }
    page
}

fn paragraph(schema: &Schema, setting: &Setting) -> String {
    let name = setting.parts().last().unwrap_or_default();
    let default = match (setting.default, setting.otherwise) {
        (Some(value), _) => format!("Default: {value}."),
        (None, "required") => "Required.".to_owned(),
        (None, otherwise) => format!("Default: {otherwise}."),
    };
    format!(
        ".TP\n\\fB{}\\fR\n{}\nTakes {}.\n{}\nVariable: \\fB{}\\fR.\n",
        text(name),
        text(setting.description),
        text(setting.expected),
        text(&default),
        text(&variable(schema, setting)),
    )
}

/// The setting's variable, with a word such as NAME where the administrator's name goes.
fn variable(schema: &Schema, setting: &Setting) -> String {
    let parts: Vec<_> = setting
        .parts()
        .map(|part| match part {
            part if is_chosen(part) => part.to_owned(),
            part => part.to_ascii_uppercase(),
        })
        .collect();
    format!("{}{}", schema.prefix, parts.join("__"))
}
