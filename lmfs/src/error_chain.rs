//! An error and its causes as text for people.

/// An error and its causes, each said once. Many errors repeat their cause in their own text, some do not.
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

    #[test]
    fn causes_that_say_more_are_all_there() {
        let error = anyhow::anyhow!("disk full")
            .context("cannot write")
            .context("cannot pack");
        assert_eq!(explain(&error), "cannot pack: cannot write: disk full");
    }
}
