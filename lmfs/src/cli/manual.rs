//! Man pages and shell completions, made from what the program itself takes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Command, CommandFactory};
use clap_complete::{Shell, generate_to};
use clap_mangen::Man;

use super::args::{Cli, Manual};

/// Where programs look below `/usr/share`, and what is read from there.
const COMPLETIONS: [(&str, Shell); 3] = [
    ("bash-completion/completions", Shell::Bash),
    ("zsh/site-functions", Shell::Zsh),
    ("fish/vendor_completions.d", Shell::Fish),
];

/// Runs the command.
///
/// # Errors
/// Folders and files that cannot be written.
pub fn run(args: &Manual) -> anyhow::Result<ExitCode> {
    let pages = folder(&args.share, "man/man1")?;
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    write_pages(&command, &pages)?;
    for (name, shell) in COMPLETIONS {
        let folder = folder(&args.share, name)?;
        let file =
            generate_to(shell, &mut shown(&Cli::command()), "lmfs", &folder).with_context(|| cannot_write(&folder))?;
        // bash-completion looks for the name of the command.
        if shell == Shell::Bash {
            fs::rename(&file, folder.join("lmfs")).with_context(|| cannot_write(&file))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn write_pages(command: &Command, folder: &Path) -> anyhow::Result<()> {
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        write_pages(sub, folder)?;
    }
    let man = Man::new(command.clone());
    let mut page = Vec::new();
    man.render(&mut page)?;
    let file = folder.join(man.get_filename());
    fs::write(&file, with_examples_as_they_are(&String::from_utf8(page)?)).with_context(|| cannot_write(&file))
}

/// Man pages fill lines; those of examples, which are indented, stay as they are (man(7)).
fn with_examples_as_they_are(page: &str) -> String {
    let mut out = String::new();
    let mut kept = false;
    for line in page.lines() {
        if kept != line.starts_with("  ") {
            kept = !kept;
            out.push_str(if kept { ".nf\n" } else { ".fi\n" });
        }
        out.push_str(match line {
            ".SH EXTRA" => ".SH EXAMPLES AND NOTES",
            line => line,
        });
        out.push('\n');
    }
    out
}

/// What help shows of a command: completions would offer what is hidden, too.
fn shown(command: &Command) -> Command {
    Command::new(command.get_name().to_owned())
        .about(command.get_about().cloned().unwrap_or_default())
        .visible_aliases(command.get_visible_aliases().map(str::to_owned))
        .version(env!("CARGO_PKG_VERSION"))
        .propagate_version(true)
        .args(command.get_arguments().filter(|arg| !arg.is_hide_set()).cloned())
        .subcommands(command.get_subcommands().filter(|sub| !sub.is_hide_set()).map(shown))
}

fn folder(share: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let folder = share.join(name);
    fs::create_dir_all(&folder).with_context(|| cannot_write(&folder))?;
    Ok(folder)
}

fn cannot_write(path: &Path) -> String {
    format!("cannot write {}", path.display())
}
