//! `lmfs model`: the models inside the program, and what any GGUF file is good for.

use std::process::ExitCode;

use lmfs_codec::model::{EngineChoice, LoadOptions, ModelSource, builtin, load};
use serde_json::{Value, json};

use super::args::{Model, ModelCommand};
use super::{output, size};
use crate::store::Digest;

/// Runs the command.
///
/// # Errors
/// An unknown or unusable model.
pub fn run(args: &Model) -> anyhow::Result<ExitCode> {
    match &args.command {
        ModelCommand::List { json } => list(*json),
        ModelCommand::Show { model, engine, json } => show(model, *engine, *json),
    }?;
    Ok(ExitCode::SUCCESS)
}

fn list(as_json: bool) -> anyhow::Result<()> {
    let default = builtin::default()?.name;
    if as_json {
        let models: Vec<Value> = builtin::list()
            .iter()
            .map(|model| {
                json!({
                    "name": format!("builtin:{}", model.name),
                    "bytes": model.gguf.len(),
                    "digest": Digest(model.digest()),
                    "default": model.name == default,
                    "card": model.card,
                })
            })
            .collect();
        return output::json(&json!({ "models": models }));
    }
    for model in builtin::list() {
        let mark = if model.name == default { " (default)" } else { "" };
        let bytes = size::show(model.gguf.len() as u64);
        output::line(&format!("builtin:{}{mark}  {bytes}\n    {}", model.name, model.card))?;
    }
    Ok(())
}

fn show(name: &str, engine: EngineChoice, as_json: bool) -> anyhow::Result<()> {
    let source: ModelSource = name.parse()?;
    let model = load(&source, engine, &LoadOptions::default())?;
    let identity = model.identity();
    let card = match source {
        ModelSource::Builtin(name) => Some(builtin::find(name)?.card),
        ModelSource::Path(_) => None,
    };
    let tokens = model.vocabulary().len();
    if as_json {
        return output::json(&json!({
            "name": identity.name,
            "digest": Digest(identity.digest),
            "engine": identity.engine,
            "architecture": identity.architecture,
            "parameters": identity.parameters,
            "context": identity.context,
            "tokens": tokens,
            "card": card,
        }));
    }
    let mut rows = vec![
        ("Model", identity.name.clone()),
        ("SHA-256", Digest(identity.digest).to_string()),
        ("Engine", identity.engine.to_string()),
        ("Architecture", identity.architecture.clone()),
        ("Parameters", output::count(identity.parameters)),
        (
            "Vocabulary",
            format!(
                "{} tokens; all 256 bytes can be expressed",
                output::count(tokens as u64)
            ),
        ),
        ("Context", format!("{} tokens", output::count(identity.context as u64))),
    ];
    rows.extend(card.map(|card| ("Card", card.to_owned())));
    output::line(&output::table(&rows))
}
