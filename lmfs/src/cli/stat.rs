//! `lmfs stat`: how single files are stored.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use rustix::io::Errno;
use serde::Serialize;
use serde_json::json;

use super::{args, output};
use crate::byte_size;
use crate::fs::FileStat;
use crate::fs::virtual_xattr::STAT;
use crate::terminal_text::{Shown as _, on_one_line};

/// How a file is stored.
#[derive(Debug, Clone, Serialize)]
struct Shown {
    path: String,
    #[serde(flatten)]
    stat: FileStat,
}

/// Runs the command. Paths that cannot be shown are named, and the others shown.
///
/// # Errors
/// When standard output cannot be written.
pub fn run(args: &args::Stat) -> anyhow::Result<ExitCode> {
    let mut files = Vec::new();
    let mut code = ExitCode::SUCCESS;
    for path in &args.paths {
        match stat(path) {
            Ok(file) => files.push(file),
            Err(error) => {
                output::say_error(&error);
                code = ExitCode::FAILURE;
            }
        }
    }
    if args.json {
        output::json(&json!({ "files": files }))?;
    } else {
        for file in &files {
            output::line(&text(file))?;
        }
    }
    Ok(code)
}

fn stat(path: &Path) -> anyhow::Result<Shown> {
    let shown = path.shown();
    let ask = |buffer: &mut [u8]| rustix::fs::getxattr(path, STAT, buffer);
    let mut value = vec![0; 16 << 10];
    let length = match ask(&mut value) {
        Ok(length) => length,
        Err(Errno::NODATA) if path.metadata().is_ok_and(|there| !there.is_file() && !there.is_dir()) => {
            bail!("{shown} is a FIFO, a socket or a device: it has no contents to be stored")
        }
        Err(Errno::NODATA | Errno::OPNOTSUPP) => {
            bail!("{shown} is not in a mounted lmfs store")
        }
        Err(error) => return Err(error).with_context(|| format!("cannot look at {shown}")),
    };
    value.truncate(length);
    let stat = serde_json::from_slice(&value)
        .with_context(|| format!("cannot understand the daemon's answer about {shown}; is it another version?"))?;
    Ok(Shown {
        path: path.display().to_string(),
        stat,
    })
}

fn text(Shown { path, stat: file }: &Shown) -> String {
    let ratio = match file.size {
        0 => String::new(),
        size => format!(", ratio {:.3}", file.stored as f64 / size as f64),
    };
    let blocks: Vec<String> = file
        .blocks
        .iter()
        .map(|(method, n)| format!("{method} {}", output::count(*n)))
        .collect();
    let mut line = format!(
        "{}: {} stored in {}{ratio}; blocks: {}",
        on_one_line(path),
        byte_size::show(file.size),
        byte_size::show(file.stored),
        if blocks.is_empty() {
            "none".to_owned()
        } else {
            blocks.join(", ")
        },
    );
    if !file.dictionaries.is_empty() {
        let used = file
            .dictionaries
            .iter()
            .map(|(id, n)| format!("{id} {}", output::count(*n)));
        let used: Vec<String> = used.collect();
        line.push_str(&format!("; behind dictionaries: {}", used.join(", ")));
    }
    if file.shared > 0 {
        let shared = byte_size::show(file.shared);
        line.push_str(&format!("; {shared} shared with other blocks"));
    }
    if file.references > 0 {
        line.push_str(&format!("; {} behind others", output::count(file.references)));
    }
    if file.waiting > 0 {
        line.push_str(&format!("; {} wait to be packed", output::count(file.waiting)));
    }
    if file.dirty > 0 {
        line.push_str(&format!("; {} in memory", byte_size::show(file.dirty)));
    }
    line
}
