//! `lmfs init`: makes a store.

use std::process::ExitCode;

use lmfs_codec::model::ModelSource;
use serde_json::json;

use super::args;
use super::output;
use super::trial;
use crate::byte_size;
use crate::store::{Folder, NewStore};

/// Runs the command.
///
/// # Errors
/// A folder in use, a model that cannot be used.
pub fn run(args: &args::Init, quiet: bool) -> anyhow::Result<ExitCode> {
    let model = match args.choice.model.as_deref() {
        None => Some(ModelSource::builtin_default()?),
        Some("none") => None,
        Some(text) => Some(text.parse()?),
    };
    if let Some(source) = &model {
        trial::survives(source, args.choice.engine)?;
    }
    let new = NewStore {
        model,
        engine: args.choice.engine,
        block_size: args.block_size,
        parity: args.parity,
        prefer: args.prefer,
    };
    let folder = new.make(&args.store)?;
    if args.json {
        output::json(&describe(&folder))?;
    } else if !quiet {
        output::line(&text(&folder))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn describe(folder: &Folder) -> serde_json::Value {
    let config = folder.config();
    json!({
        "store": folder.path().display().to_string(),
        "store_id": config.store_id,
        "format": config.format,
        "block_size": config.block_size,
        "parity": config.parity,
        "prefer": config.prefer,
        "model": config.model,
    })
}

fn text(folder: &Folder) -> String {
    let config = folder.config();
    let model = config.model.as_ref().map_or("no language model".to_owned(), |model| {
        format!("model {} ({} engine)", model.name, model.engine)
    });
    let path = folder.path().display();
    let parity = match config.parity {
        0 => String::new(),
        percent => format!(", {percent} % parity"),
    };
    format!(
        "made the store {path}: {} blocks, {model}{parity}\nmount it with: lmfs mount {path} MOUNTPOINT",
        byte_size::show(config.block_size.into())
    )
}
