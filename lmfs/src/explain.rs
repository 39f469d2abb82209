//! Errors and names as text for people.

use std::borrow::Cow;
use std::fmt;
use std::path::Path;

/// Text without characters that a terminal obeys; lines stay lines. Names of files come from anybody.
#[must_use]
pub fn visible(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c != '\n' && c != '\t')
}

/// Text as part of a line: without line breaks, too.
#[must_use]
pub fn on_one_line(text: &str) -> Cow<'_, str> {
    escaped(text, |_| true)
}

fn escaped(text: &str, wanted: impl Fn(char) -> bool) -> Cow<'_, str> {
    let hidden = |c: char| is_control(c) && wanted(c);
    if !text.contains(hidden) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match hidden(c) {
            true => out.extend(c.escape_default()),
            false => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Whether a terminal obeys it: control characters, and those that change the order in which text is shown.
pub fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A path in a message.
pub trait Shown {
    /// On one line, without characters that a terminal obeys.
    fn shown(&self) -> ShownPath<'_>;
}

impl Shown for Path {
    fn shown(&self) -> ShownPath<'_> {
        ShownPath(self)
    }
}

/// See [`Shown`].
pub struct ShownPath<'a>(&'a Path);

impl fmt::Display for ShownPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&on_one_line(&self.0.to_string_lossy()))
    }
}

/// An error and its causes, each said once: many errors repeat their cause in their own text, some do not.
#[must_use]
pub fn explain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    let mut last = String::new();
    for cause in error.chain() {
        let next = cause.to_string();
        if !last.is_empty() && last.contains(&next) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&next);
        last = next;
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("model m.gguf: {source}")]
    struct Repeats {
        source: io::Error,
    }

    #[test]
    fn a_missing_model_names_the_reason_once() {
        let source = io::Error::from_raw_os_error(2);
        let reason = source.to_string();
        let error = anyhow::Error::new(Repeats { source }).context("cannot start");
        assert_eq!(explain(&error), format!("cannot start: model m.gguf: {reason}"));
    }

    /// Regression: a file's name could move the cursor, change the title, or look like a message of its own.
    #[test]
    fn nothing_in_a_name_is_obeyed_by_a_terminal() {
        assert_eq!(
            visible("a \u{1b}[31mred\u{9b}2J\r\n\tä\u{202e}"),
            "a \\u{1b}[31mred\\u{9b}2J\\r\n\tä\\u{202e}"
        );
        assert_eq!(
            Path::new("a\nlmfs: done\u{7f}").shown().to_string(),
            "a\\nlmfs: done\\u{7f}"
        );
        assert!(matches!(visible("plain\ntext"), Cow::Borrowed(_)));
    }

    #[test]
    fn causes_that_say_more_are_all_there() {
        let error = anyhow::anyhow!("disk full")
            .context("cannot write")
            .context("cannot pack");
        assert_eq!(explain(&error), "cannot pack: cannot write: disk full");
    }
}
