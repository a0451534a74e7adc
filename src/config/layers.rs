//! Layers of settings, for any program with a [`Schema`]: each is read, every value is checked at
//! its origin, and all are merged, later ones over earlier ones. What a later layer hides is
//! checked as well: it would come back with the next `Revert` or without its drop-in.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};
use serde::de::DeserializeOwned;

use super::document::{Document, KeyPath, Mark};
use super::error::{ConfigError, Place, Problem, Problems, shortened};
use super::table::{Schema, Setting, key_text};
use super::{environment, files, mistakes};
use crate::config::Reason;

/// Where a program's files are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// The files, later ones over earlier ones; whether each must exist.
    pub main: Vec<(PathBuf, bool)>,
    /// The directories of drop-ins; of two drop-ins with the same name, the one
    /// in the later directory counts.
    pub drop_ins: Vec<PathBuf>,
}

impl Files {
    /// `PROGRAM.toml` and `PROGRAM.d/*.toml` in each directory, none of which
    /// needs to exist.
    #[must_use]
    pub fn standard(program: &str, directories: &[&Path]) -> Self {
        let join = |end: &str| {
            let name = format!("{program}{end}");
            directories
                .iter()
                .map(move |directory| directory.join(&name))
                .collect::<Vec<_>>()
        };
        Self {
            main: join(".toml")
                .into_iter()
                .map(|path| (path, false))
                .collect(),
            drop_ins: join(".d"),
        }
    }

    /// One file, which must exist, and `NAME.d/*.toml` beside `NAME.toml`. A
    /// file with another ending has no drop-ins.
    #[must_use]
    pub fn only(file: &Path) -> Self {
        let toml = file.extension() == Some(OsStr::new("toml"));
        Self {
            main: vec![(file.to_owned(), true)],
            drop_ins: toml.then(|| file.with_extension("d")).into_iter().collect(),
        }
    }

    /// Where an administrator adds settings: the one file that must exist, or a drop-in of this name.
    #[must_use]
    pub fn to_add_to(&self, name: &str) -> PathBuf {
        let named = self.main.iter().find(|(_, required)| *required);
        match (named, self.drop_ins.last()) {
            (Some((file, _)), _) => file.clone(),
            (None, Some(directory)) => directory.join(format!("{name}.toml")),
            (None, None) => PathBuf::from(format!("{name}.toml")),
        }
    }
}

/// One layer: its values, all of them checked, and the origin of each.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    place: Place,
    values: Dict,
    marks: BTreeMap<KeyPath, Mark>,
    schema: &'static Schema,
}

impl Layer {
    /// A layer, and what is wrong in it.
    fn new(schema: &'static Schema, place: Place, document: Document) -> (Self, Vec<Problem>) {
        let Document { values, marks } = document;
        let layer = Self {
            place,
            values,
            marks,
            schema,
        };
        let mut findings = schema.findings(&layer.values, &layer.marks);
        findings.sort_by_key(|(path, _)| layer.marks.get(path).map(|mark| mark.line));
        let problem = |(path, reason): (KeyPath, _)| layer.problem(&path, reason);
        let problems = findings.into_iter().map(problem).collect();
        (layer, problems)
    }

    /// A layer from a text in TOML.
    pub(crate) fn parse(schema: &'static Schema, place: Place, text: &str) -> (Self, Vec<Problem>) {
        match Document::parse(text) {
            Ok(document) => Self::new(schema, place, document),
            Err(error) => {
                let (layer, mut problems) = Self::new(schema, place, Document::default());
                let place = layer.at_line(error.line);
                let mistake = mistakes::of(error, text, schema);
                problems.push(Problem {
                    place,
                    key: mistake.key.as_deref().map(key_text),
                    reason: Reason::Syntax(mistake.message),
                });
                (layer, problems)
            }
        }
    }

    /// The value of a key in this layer.
    pub(crate) fn value<S: AsRef<str>>(&self, path: &[S]) -> Option<&Value> {
        let (last, tables) = path.split_last()?;
        let mut table = &self.values;
        for name in tables {
            table = table.get(name.as_ref())?.as_dict()?;
        }
        table.get(last.as_ref())
    }

    /// A problem with a key of this layer.
    pub(crate) fn problem<S: AsRef<str>>(&self, path: &[S], reason: Reason) -> Problem {
        Problem {
            place: self.place_of(path),
            key: Some(key_text(path)),
            reason,
        }
    }

    fn place_of<S: AsRef<str>>(&self, path: &[S]) -> Place {
        if let Place::Variable(_) = self.place {
            return Place::Variable(environment::name(self.schema, path));
        }
        let path: KeyPath = path.iter().map(|part| part.as_ref().to_owned()).collect();
        self.at_line(self.marks.get(&path).map(|mark| mark.line))
    }

    fn at_line(&self, line: Option<usize>) -> Place {
        match &self.place {
            Place::File { path, .. } => Place::File {
                path: path.clone(),
                line,
            },
            Place::Persistent { path, .. } => Place::Persistent {
                path: path.clone(),
                line,
            },
            place => place.clone(),
        }
    }

    pub(crate) fn extract<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        Figment::from(self)
            .extract()
            .map_err(|error| mismatch(&self.place, error))
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.place.to_string())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Map::from([(Profile::Default, self.values.clone())]))
    }
}

/// All layers of a program, from the first to the one that counts most.
#[derive(Debug)]
pub struct Layers {
    schema: &'static Schema,
    stack: Vec<Layer>,
    problems: Problems,
    files: Vec<PathBuf>,
    places: Files,
}

impl Layers {
    /// The first layer: the defaults of the table.
    #[must_use]
    pub fn of_defaults(schema: &'static Schema) -> Self {
        let line = |setting: &Setting| {
            setting
                .default
                .map(|value| format!("{} = {value}\n", setting.key))
        };
        let text: String = schema.settings.iter().filter_map(line).collect();
        let (layer, problems) = Layer::parse(schema, Place::Default, &text);
        let mut layers = Self {
            schema,
            stack: vec![layer],
            problems: Problems::default(),
            files: Vec::new(),
            places: Files::default(),
        };
        layers.problems.extend(problems);
        layers
    }

    /// Adds the files, and then the drop-ins.
    pub fn read_files(&mut self, files: &Files) {
        self.places = files.clone();
        for (path, required) in &files.main {
            match files::read(path) {
                Err(Reason::Unreadable(error)) if !required && missing(&error) => {}
                text => self.push_file(path.clone(), text),
            }
        }
        match files::drop_ins(&files.drop_ins) {
            Ok(paths) => {
                for path in paths {
                    let text = files::read(&path);
                    self.push_file(path, text);
                }
            }
            Err(problem) => self.problems.push(*problem),
        }
    }

    fn push_file(&mut self, path: PathBuf, text: Result<String, Reason>) {
        let place = Place::file(&path);
        match text {
            Ok(text) => {
                let (layer, problems) = Layer::parse(self.schema, place, &text);
                self.push(layer, problems);
                self.files.push(path);
            }
            Err(reason) => self.problems.push(Problem {
                place,
                key: None,
                reason,
            }),
        }
    }

    /// Adds the variables that begin with the program's prefix:
    /// `PREFIX_INTERVALS__METRICS` is `intervals.metrics`. Names are in upper
    /// case, so that a name that the administrator chose can be reached where
    /// it is in lower case, of letters, digits and `_`.
    pub fn read_environment(&mut self, variables: &BTreeMap<OsString, OsString>) {
        let (document, unfit) = environment::read(self.schema, variables);
        for (name, reason) in unfit {
            let place = Place::Variable(name);
            self.problems.push(Problem {
                place,
                key: None,
                reason,
            });
        }
        if !document.values.is_empty() {
            let (layer, problems) =
                Layer::new(self.schema, Place::Variable(String::new()), document);
            self.push(layer, problems);
        }
    }

    /// Hides everything that the layers so far have below this first part of a
    /// key; it has been checked all the same.
    pub fn hide(&mut self, first: &str) {
        for layer in &mut self.stack {
            layer.values.remove(first);
        }
    }

    /// Adds one value of a command line.
    pub fn set(&mut self, place: Place, path: &[&str], text: &str) {
        let mut document = Document::default();
        document.insert(path, Value::from(text), shortened(&format!("{text:?}")));
        let (layer, problems) = Layer::new(self.schema, place, document);
        self.push(layer, problems);
    }

    pub(crate) fn push(&mut self, layer: Layer, problems: Vec<Problem>) {
        self.stack.push(layer);
        self.problems.extend(problems);
    }

    /// Adds a layer of a file that was read elsewhere.
    pub(crate) fn push_persistent(&mut self, layer: Layer, path: PathBuf) {
        self.push(layer, Vec::new());
        self.files.push(path);
    }

    /// Adds what the program itself finds wrong in one layer.
    pub(crate) fn examine(&mut self, find: impl Fn(&Layer) -> Vec<Problem>) {
        for layer in &self.stack {
            self.problems.extend(find(layer));
        }
    }

    /// Everything found wrong so far, as an error.
    pub fn checked(&mut self) -> Result<(), ConfigError> {
        std::mem::take(&mut self.problems).none_or(())
    }

    /// All layers as one value of the program's own type.
    pub fn merged<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        let merged = self
            .stack
            .iter()
            .fold(Figment::new(), |merged, layer| merged.merge(layer));
        merged
            .extract()
            .map_err(|error| mismatch(&Place::Default, error))
    }

    /// The files that the layers came from, in order.
    #[must_use]
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Where an administrator adds settings: see [`Files::to_add_to`].
    #[must_use]
    pub fn to_add_to(&self, name: &str) -> PathBuf {
        self.places.to_add_to(name)
    }

    /// The origin of the value in force of a key, if it is set anywhere.
    #[must_use]
    pub fn place<S: AsRef<str>>(&self, path: &[S]) -> Option<Place> {
        self.rank(path)
            .and_then(|rank| self.stack.get(rank))
            .map(|layer| layer.place_of(path))
    }

    /// The value in force of a key, as it was written.
    pub(crate) fn value<S: AsRef<str>>(&self, path: &[S]) -> Option<&Value> {
        self.rank(path)
            .and_then(|rank| self.stack.get(rank))
            .and_then(|layer| layer.value(path))
    }

    /// The names in the table of a key, in any layer, in order.
    pub(crate) fn names<S: AsRef<str>>(&self, path: &[S]) -> BTreeSet<&str> {
        self.stack
            .iter()
            .filter_map(|layer| layer.value(path))
            .filter_map(Value::as_dict)
            .flat_map(|table| table.keys().map(String::as_str))
            .collect()
    }

    /// The layer that sets the value of a key in force: a later layer has a higher rank.
    pub(crate) fn rank<S: AsRef<str>>(&self, path: &[S]) -> Option<usize> {
        self.stack
            .iter()
            .rposition(|layer| layer.value(path).is_some())
    }

    /// A problem with a key, at the place of its value in force.
    #[must_use]
    pub fn problem<S: AsRef<str>>(&self, path: &[S], reason: Reason) -> Problem {
        let place = self.place(path).unwrap_or(Place::Default);
        Problem {
            place,
            key: Some(key_text(path)),
            reason,
        }
    }
}

fn missing(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
    )
}

fn mismatch(place: &Place, error: figment::Error) -> ConfigError {
    ConfigError::from(Problem {
        place: place.clone(),
        key: None,
        reason: Reason::Types(Box::new(error)),
    })
}
