//! Text that a terminal shows and does not obey. Names of files come from anybody.

use std::borrow::Cow;
use std::fmt;
use std::path::Path;

/// Text without characters that a terminal obeys; lines stay lines.
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
