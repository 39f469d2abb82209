//! The `qwen2` pre-tokenizer: cuts text into words before byte pairs are merged.
//!
//! It is the regular expression
//! `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
//! as llama.cpp applies it, written as a scan over the characters.

use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Letter,
    Number,
    Space,
    Other,
}

/// Which characters count as letters, numbers and white space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Classes {
    /// Those that this version of Unicode says.
    Unicode,
    /// Those of ASCII. All other characters are letters, in all versions.
    Ascii,
}

impl Classes {
    fn of(self, c: char) -> Class {
        match c {
            'a'..='z' | 'A'..='Z' => Class::Letter,
            '0'..='9' => Class::Number,
            '\t'..='\r' | ' ' => Class::Space,
            _ if c.is_ascii() => Class::Other,
            _ if self == Classes::Ascii => Class::Letter,
            _ if c.is_whitespace() => Class::Space,
            _ => match c.general_category_group() {
                GeneralCategoryGroup::Letter => Class::Letter,
                GeneralCategoryGroup::Number => Class::Number,
                _ => Class::Other,
            },
        }
    }
}

/// The words of `text`, in order; concatenated they are `text`.
pub fn words(text: &str, classes: Classes) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (word, tail) = rest.split_at_checked(word_length(rest, classes))?;
        rest = tail;
        (!word.is_empty()).then_some(word)
    })
}

/// Bytes of the characters at the start of `s` for which `wanted` holds.
fn span(s: &str, wanted: impl Fn(char) -> bool) -> usize {
    s.find(|c| !wanted(c)).unwrap_or(s.len())
}

fn tail(s: &str, from: usize) -> &str {
    s.get(from..).unwrap_or("")
}

/// Bytes of the first word of `s`; 0 only for the empty string.
fn word_length(s: &str, classes: Classes) -> usize {
    let class = |c| classes.of(c);
    let mut chars = s.chars();
    let Some(first) = chars.next() else { return 0 };
    let after = chars.as_str();
    if first == '\'' {
        let next = after
            .as_bytes()
            .first_chunk::<2>()
            .map(|p| p.map(|b| b.to_ascii_lowercase()));
        match after.bytes().next().map(|b| b.to_ascii_lowercase()) {
            Some(b's' | b't' | b'm' | b'd') => return 2,
            _ if matches!(next, Some([b'r' | b'v', b'e'] | [b'l', b'l'])) => return 3,
            _ => {}
        }
    }
    let kind = class(first);
    let letter = |c| class(c) == Class::Letter;
    let newline = |c| c == '\r' || c == '\n';
    if kind == Class::Letter || (kind != Class::Number && !newline(first) && after.chars().next().is_some_and(letter)) {
        return first.len_utf8() + span(after, letter);
    }
    if kind == Class::Number {
        return first.len_utf8();
    }
    let marks = if first == ' ' { after } else { s };
    let length = span(marks, |c| class(c) == Class::Other);
    if length > 0 {
        let end = s.len() - marks.len() + length;
        return end + span(tail(s, end), newline);
    }
    // Only white space is left. Up to its last line end, else all but its last character if a word follows.
    let space = span(s, |c| class(c) == Class::Space);
    let run = s.get(..space).unwrap_or(s);
    if let Some(at) = run.rfind(newline) {
        return at + 1;
    }
    let last = run.char_indices().next_back().map_or(0, |(at, _)| at);
    if last > 0 && space < s.len() { last } else { space }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(s: &str) -> Vec<&str> {
        words(s, Classes::Unicode).collect()
    }

    #[test]
    fn beyond_ascii_all_characters_can_be_letters() {
        let split = |s| words(s, Classes::Ascii).collect::<Vec<&str>>();
        assert_eq!(
            split("a12 日本語。Ⅷ½\u{a0}é, x"),
            ["a", "1", "2", " 日本語。Ⅷ½\u{a0}é", ",", " x"]
        );
    }

    #[test]
    fn splits_like_the_expression() {
        assert_eq!(
            split("Hello, world's  end"),
            ["Hello", ",", " world", "'s", " ", " end"]
        );
        assert_eq!(split("it'LL they'Ve 'x"), ["it", "'LL", " they", "'Ve", " '", "x"]);
        assert_eq!(split("a12 3"), ["a", "1", "2", " ", "3"]);
        assert_eq!(split("x;\r\n\r\n  y"), ["x", ";\r\n\r\n", " ", " y"]);
        assert_eq!(split("  \n \n  z  "), ["  \n \n", " ", " z", "  "]);
        assert_eq!(split("\tif(a)\n"), ["\tif", "(a", ")\n"]);
        assert_eq!(split(" \u{a0}\u{3000}é"), [" \u{a0}", "\u{3000}é"]);
        assert_eq!(split("日本語。Ⅷ½"), ["日本語", "。", "Ⅷ", "½"]);
        assert_eq!(split(""), [""; 0]);
    }
}
