//! Printing: text for people, one JSON object for programs, progress while something takes time.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::byte_size;
use crate::error_chain::explain;
use crate::progress::Progress;
use crate::terminal_text::{is_control, on_one_line, visible};

/// Standard output. That of std calls everything written when it is closed.
///
/// # Errors
/// There is no descriptor left.
pub fn stdout() -> io::Result<File> {
    Ok(File::from(rustix::stdio::stdout().try_clone_to_owned()?))
}

fn print(text: &str) -> anyhow::Result<()> {
    stdout()
        .and_then(|mut out| out.write_all(text.as_bytes()))
        .context("cannot write to standard output")
}

/// Prints `text` and a newline to standard output.
///
/// # Errors
/// When standard output cannot be written; see [`is_broken_pipe`].
pub fn line(text: &str) -> anyhow::Result<()> {
    print(&format!("{}\n", visible(text)))
}

/// Prints `value` as one JSON object.
///
/// # Errors
/// As for [`line`].
pub fn json(value: &impl Serialize) -> anyhow::Result<()> {
    let mut text = String::new();
    for c in serde_json::to_string_pretty(value)?.chars() {
        // JSON allows some of them in strings.
        match c {
            '\n' => text.push(c),
            c if is_control(c) => text.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => text.push(c),
        }
    }
    print(&(text + "\n"))
}

/// Prints a message to standard error. Nothing can be done where that is closed, full, or a terminal that went away:
/// the exit code tells how it went.
pub fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{}", visible(text));
}

/// Says what went wrong.
pub fn say_error(error: &anyhow::Error) {
    say(&format!("lmfs: {}", explain(error)));
}

/// Prints what clap has to say instead of a command's arguments: help, a version, or what was wrong with them.
#[must_use]
pub fn usage(told: &clap::Error) -> ExitCode {
    let text = told.render();
    if told.use_stderr() {
        say(text.to_string().trim_end());
        return ExitCode::from(u8::try_from(told.exit_code()).unwrap_or(2));
    }
    let colours = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let printed = match colours {
        true => print(&text.ansi().to_string()),
        false => print(&text.to_string()),
    };
    match printed {
        Err(error) if !is_broken_pipe(&error) => {
            say_error(&error);
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

/// Whether an error only says that nobody reads our output any more (`lmfs status | head -1`): no failure.
#[must_use]
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|e| e.kind() == io::ErrorKind::BrokenPipe)
}

/// Lines of `name  value`, aligned.
#[must_use]
pub fn table(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines: Vec<String> = rows
        .iter()
        .map(|(name, value)| format!("{name:width$}  {}", on_one_line(value)))
        .collect();
    lines.join("\n")
}

/// `1234567` as `1,234,567`.
#[must_use]
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// How often a line is printed where there is no terminal to draw a bar on.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Shows [`Progress`] on standard error: a bar on a terminal, a line every ten seconds elsewhere, nothing if quiet.
#[derive(Debug)]
pub struct Meter {
    bar: Option<ProgressBar>,
    lines: bool,
    last: Option<Instant>,
    stage: String,
}

impl Meter {
    /// A meter that shows nothing yet.
    #[must_use]
    pub fn new(quiet: bool) -> Meter {
        let terminal = io::stderr().is_terminal();
        Meter {
            bar: (terminal && !quiet).then(|| ProgressBar::new(0)),
            lines: !terminal && !quiet,
            last: None,
            stage: String::new(),
        }
    }

    /// Shows how far it is.
    pub fn show(&mut self, progress: &Progress) {
        if let Some(bar) = &self.bar {
            if self.stage != progress.stage {
                bar.set_style(style(progress.total > 0));
                bar.enable_steady_tick(Duration::from_millis(200));
                self.stage.clone_from(&progress.stage);
            }
            bar.set_length(progress.total);
            bar.set_position(progress.done);
            let message = match progress.total {
                0 => text(progress),
                _ if progress.note.is_empty() => progress.stage.clone(),
                _ => format!("{} ({})", progress.stage, progress.note),
            };
            bar.set_message(on_one_line(&message).into_owned());
        } else if self.lines && self.last.is_none_or(|last| last.elapsed() >= LINE_EVERY) {
            // The first line comes only once the work has taken a while.
            if self.last.is_some() {
                say(&on_one_line(&text(progress)));
            }
            self.last = Some(Instant::now());
        }
    }

    /// Takes the bar away.
    pub fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.finish();
    }
}

fn style(known: bool) -> ProgressStyle {
    let template = if known {
        "{msg} {wide_bar:.cyan/blue} {bytes}/{total_bytes} {binary_bytes_per_sec} {eta}"
    } else {
        "{spinner} {msg} {elapsed}"
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn text(progress: &Progress) -> String {
    let bytes = match (progress.done, progress.total) {
        (0, 0) => None,
        (done, 0) => Some(byte_size::show(done)),
        (done, total) => Some(format!("{} of {}", byte_size::show(done), byte_size::show(total))),
    };
    let note = Some(progress.note.clone()).filter(|note| !note.is_empty());
    let parts: Vec<String> = bytes.into_iter().chain(note).collect();
    match parts.is_empty() {
        true => progress.stage.clone(),
        false => format!("{}: {}", progress.stage, parts.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        for (n, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(n), text);
        }
    }

    #[test]
    fn only_what_is_known_of_progress_is_told() {
        let mut step = Progress::new("packing", 2048, 4096);
        assert_eq!(text(&step), "packing: 2.0 KiB of 4.0 KiB");
        (step.total, step.note) = (0, "segment 1 of 2".into());
        assert_eq!(text(&step), "packing: 2.0 KiB, segment 1 of 2");
        step.done = 0;
        assert_eq!(text(&step), "packing: segment 1 of 2");
        step.note.clear();
        assert_eq!(text(&step), "packing");
    }

    #[test]
    fn tables_are_aligned() {
        assert_eq!(table(&[("a", "1".into()), ("long", "2".into())]), "a     1\nlong  2");
    }

    #[test]
    fn a_closed_pipe_is_told_from_other_errors() {
        let pipe = anyhow::Error::from(io::Error::from(io::ErrorKind::BrokenPipe)).context("cannot write");
        assert!(is_broken_pipe(&pipe));
        assert!(!is_broken_pipe(&anyhow::anyhow!("Broken pipe")));
    }
}
