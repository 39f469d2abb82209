//! `lmfs model`: the models inside the program, and what any GGUF file is good for.

mod measure;

use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use lmfs_codec::model::{EngineChoice, LoadOptions, ModelSource, builtin, load};
use serde_json::{Value, json};

use super::args::{Model, ModelCommand};
use super::interrupt::stop_on_interrupt;
use super::{output, trial};
use crate::byte_size;
use crate::eval::table::of_numbers;
use crate::store::Digest;

/// Runs the command.
///
/// # Errors
/// An unknown or unusable model.
pub fn run(args: &Model) -> anyhow::Result<ExitCode> {
    match &args.command {
        ModelCommand::List { json } => list(*json),
        ModelCommand::Show {
            model,
            engine,
            json,
            untried,
        } => show(model, *engine, *json, *untried),
        ModelCommand::Export { model, file } => export(model, file),
    }?;
    Ok(ExitCode::SUCCESS)
}

fn list(as_json: bool) -> anyhow::Result<()> {
    let default = builtin::default()?.name;
    let stop = stop_on_interrupt()?;
    let mut models = Vec::new();
    for model in builtin::list() {
        models.push((model, measure::measure(model.name, &stop)?));
    }
    if as_json {
        let models: Vec<Value> = models
            .iter()
            .map(|(model, measured)| {
                json!({
                    "name": format!("builtin:{}", model.name),
                    "bytes": model.gguf.len(),
                    "digest": Digest(model.digest()),
                    "default": model.name == default,
                    "summary": model.summary,
                    "bits_per_byte": measured.bits_per_byte,
                    "decoded_kb_per_second": measured.decoded_kb_per_second,
                })
            })
            .collect();
        return output::json(&json!({ "models": models }));
    }
    let mut head = vec!["model".to_owned(), "size".into(), "KB/s a thread".into()];
    // The kinds are the same for all.
    let kinds = models.first().map(|(_, measured)| measured.bits_per_byte.keys());
    head.extend(kinds.into_iter().flatten().map(|kind| format!("bits/byte: {kind}")));
    let mut table = of_numbers(head);
    for (model, measured) in &models {
        let mut row = vec![
            format!("builtin:{}", model.name),
            byte_size::show(model.gguf.len() as u64),
            format!("{:.0}", measured.decoded_kb_per_second),
        ];
        row.extend(measured.bits_per_byte.values().map(|bits| format!("{bits:.2}")));
        table.add_row(row);
    }
    output::line(&table.trim_fmt())?;
    for (model, _) in &models {
        let mark = if model.name == default { " (the default)" } else { "" };
        output::line(&format!("\nbuiltin:{}{mark}\n    {}", model.name, model.summary))?;
    }
    output::line(
        "\nMeasured now, with adaptive models mixed, on texts of this program. `lmfs model show` prints a model's card.",
    )
}

/// The file gets its name only when it is whole and durable, and replaces none.
fn export(name: &str, file: &Path) -> anyhow::Result<()> {
    let ModelSource::Builtin(name) = name.parse()? else {
        bail!("{name} is a file already: builtin:NAME can be exported, see `lmfs model list`");
    };
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let as_umask_has_it = Permissions::from_mode(0o666);
    let write = || -> std::io::Result<()> {
        let mut new = tempfile::Builder::new()
            .permissions(as_umask_has_it)
            .tempfile_in(folder.unwrap_or(Path::new(".")))?;
        new.write_all(builtin::find(name).map_err(std::io::Error::other)?.gguf)?;
        new.as_file().sync_all()?;
        new.persist_noclobber(file)?;
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", file.display()))
}

fn show(name: &str, engine: EngineChoice, as_json: bool, untried: bool) -> anyhow::Result<()> {
    let source: ModelSource = name.parse()?;
    let model = if untried {
        let model = load(&source, engine, &LoadOptions::default())?;
        trial::probe(Arc::clone(&model))?;
        model
    } else {
        trial::load(&source, engine)?
    };
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
    let rows = [
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
    output::line(&output::table(&rows))?;
    card.map_or(Ok(()), |card| output::line(&format!("\n{}", card.trim_end())))
}
