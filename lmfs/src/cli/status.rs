//! `lmfs status`

use std::process::ExitCode;

use super::target::Target;
use super::{args, output};
use crate::byte_size;
use crate::daemon::control::Request;
use crate::daemon::status::{PackerStatus, Status};
use crate::store::{Access, Lock, Opened};

/// What others are told meanwhile.
const PURPOSE: &str = "lmfs status";

/// Runs the command.
///
/// # Errors
/// No store, or one that cannot be opened or asked.
pub fn run(args: &args::Status) -> anyhow::Result<ExitCode> {
    let status = match Target::find(&args.target)? {
        Target::Mounted { client } => client.call(&Request::Status, &mut |_| ())?,
        Target::Unmounted(folder) => {
            let lock = Lock::acquire(folder.dir(), PURPOSE)?;
            let access = Access {
                // An index that may be written is found, one that may not is made in memory.
                read_only: !lock.is_writable(),
                ..Access::rows(PURPOSE)
            };
            let opened = Opened::open_locked(folder, &access, lock)?;
            let status = Status::of(&opened);
            opened.close()?;
            status
        }
    };
    if args.json {
        output::json(&status)
    } else {
        output::line(&text(&status))
    }?;
    match args.fail && status.needs_attention() {
        true => Ok(ExitCode::FAILURE),
        false => Ok(ExitCode::SUCCESS),
    }
}

fn text(status: &Status) -> String {
    let block = byte_size::show(status.block_size.into());
    let mut rows = vec![
        (
            "Store",
            format!("{} ({block} blocks, format {})", status.store, status.format),
        ),
        ("Id", status.store_id.clone()),
    ];
    rows.push(match &status.mount {
        Some(mount) => {
            let mode = if mount.read_only { ", read-only" } else { "" };
            (
                "Mounted",
                format!("on {} by process {}{mode}", mount.mountpoint, mount.pid),
            )
        }
        None => ("Mounted", "no".to_owned()),
    });
    rows.push(match &status.model {
        Some(model) => {
            let digest: String = model.digest.chars().take(12).collect();
            ("Model", format!("{} ({digest}, {} engine)", model.name, model.engine))
        }
        None => ("Model", "none".to_owned()),
    });
    rows.push((
        "Data",
        format!(
            "{} in {} inodes",
            byte_size::show(status.logical_bytes),
            output::count(status.inodes)
        ),
    ));
    let ratio = status
        .ratio
        .map_or(String::new(), |ratio| format!(", ratio {ratio:.3}"));
    let shared = match status.shared_bytes {
        0 => String::new(),
        bytes => format!(", and {} more that are shared", byte_size::show(bytes)),
    };
    rows.push((
        "Stored",
        format!("{}{ratio}{shared}", byte_size::show(status.stored_bytes)),
    ));
    rows.push((
        "Log",
        format!(
            "{}, of which {} garbage",
            byte_size::show(status.log_bytes),
            byte_size::show(status.dead_bytes)
        ),
    ));
    if status.parity > 0 || status.parity_bytes > 0 {
        let bytes = byte_size::show(status.parity_bytes);
        rows.push(("Parity", format!("{bytes} ({} % of new segments)", status.parity)));
    }
    rows.push(("Index", byte_size::show(status.index_bytes)));
    rows.push(("Blocks", blocks(status)));
    if !status.dictionaries.is_empty() {
        rows.push(("Dictionaries", dictionaries(status)));
    }
    if status.referring_blocks > 0 {
        rows.push(("References", references(status)));
    }
    rows.push(("To pack", queue(status)));
    if status.mount.is_some() {
        let cache = &status.cache;
        rows.push((
            "Cache",
            format!(
                "{} of {}, {} hits, {} misses",
                byte_size::show(cache.bytes),
                byte_size::show(cache.capacity),
                output::count(cache.hits),
                output::count(cache.misses)
            ),
        ));
    }
    rows.extend(status.troubles().into_iter().map(|trouble| ("Trouble", trouble)));
    rows.extend(status.warnings.iter().map(|warning| ("Warning", warning.clone())));
    output::table(&rows)
}

fn blocks(status: &Status) -> String {
    let some = status.blocks.iter().filter(|(_, n)| **n > 0);
    let list: Vec<String> = some
        .map(|(method, n)| {
            let bytes = status.block_bytes.get(method).copied().unwrap_or_default();
            format!("{method} {} ({})", output::count(*n), byte_size::show(bytes))
        })
        .collect();
    if list.is_empty() {
        "none".to_owned()
    } else {
        list.join(", ")
    }
}

fn dictionaries(status: &Status) -> String {
    let list = status.dictionaries.iter().map(|dictionary| {
        format!(
            "{} of {} ({}) for {} blocks",
            dictionary.id,
            byte_size::show(dictionary.bytes),
            dictionary.kind,
            output::count(dictionary.blocks)
        )
    });
    let list: Vec<String> = list.collect();
    let stored: u64 = status
        .dictionaries
        .iter()
        .map(|dictionary| dictionary.stored_bytes)
        .sum();
    format!("{}; stored in {}", list.join(", "), byte_size::show(stored))
}

fn references(status: &Status) -> String {
    let kept = match status.kept_bytes {
        0 => String::new(),
        bytes => format!("; {} of deleted files kept for them", byte_size::show(bytes)),
    };
    format!(
        "{} blocks behind others ({}){kept}",
        output::count(status.referring_blocks),
        byte_size::show(status.referring_bytes)
    )
}

fn queue(status: &Status) -> String {
    let waiting = match status.queue_bytes {
        0 => "nothing".to_owned(),
        bytes => format!(
            "{} in {} blocks",
            byte_size::show(bytes),
            output::count(status.queue_blocks)
        ),
    };
    match &status.packer {
        Some(packer) => format!("{waiting}; {}", packer_text(packer)),
        None => waiting,
    }
}

fn packer_text(packer: &PackerStatus) -> String {
    match (packer.state.as_str(), &packer.last_error) {
        ("packing", _) => format!(
            "packing, {} of {} done at {}/s",
            byte_size::show(packer.done_bytes),
            byte_size::show(packer.total_bytes),
            byte_size::show(packer.bytes_per_second as u64)
        ),
        ("off", None) => "packed only by `lmfs pack`".to_owned(),
        ("waiting", None) => "the packer waits for idle files".to_owned(),
        (_, Some(error)) => error.clone(),
        (state, None) => state.to_owned(),
    }
}
