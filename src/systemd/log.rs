//! Logging: where it goes and how much of it, changeable at run time.
//!
//! To journald's native protocol when systemd connected standard error to the
//! journal (`JOURNAL_STREAM`, systemd.exec(5)), else to standard error. The level
//! and the target are systemd's own terms, as org.freedesktop.LogControl1(5) has
//! them.

use std::fmt;
use std::str::FromStr;
