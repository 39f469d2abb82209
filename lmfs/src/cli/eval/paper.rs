//! `lmfs eval --paper`: the table of the paper, on the user's own data.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use lmfs_codec::Stop;
use lmfs_codec::model::{EngineChoice, LanguageModel, ModelSource, builtin};
use parking_lot::Mutex;

use super::super::args::Paper;
use super::super::output::{self, Meter};
use super::super::trial;
use crate::byte_size;
use crate::eval::{Error, Input};
use crate::generate::Predicted;
use crate::paper::{self, Circumstances, Contender, Curve, DataSet, Kept, Named, Table, Tokenization};
use crate::progress::Progress;

/// What of lmfs is measured.
struct Method {
    name: String,
    /// The language model and its file's bytes.
    model: Option<(Arc<dyn LanguageModel>, u64)>,
}

/// Measures and prints.
///
/// # Errors
/// Files that cannot be read, models that cannot be used, compressors that fail.
pub fn run(
    args: &Paper,
    engine: EngineChoice,
    threads: usize,
    json: bool,
    files: &[Input],
    quiet: bool,
    stop: &Stop,
) -> anyhow::Result<()> {
    let options = paper::Options {
        limit: args.limit,
        noise: true,
    };
    let sets = paper::data_sets(files, &options)?;
    let methods = methods(&args.with, engine)?;
    let contenders = contenders(&methods)?;
    let kept = match &args.report {
        None => None,
        Some(folder) => {
            std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
            Some(Kept::open(&folder.join("measured.ndjson"))?)
        }
    };
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(Error::Threads)?;
    let meter = Mutex::new(Meter::new(quiet));
    let rates = pool.install(|| rates(&sets, &contenders, kept.as_ref(), &meter, stop))?;
    let tokenization = pool.install(|| tokenization(&sets, &methods, &rates, kept.as_ref(), &meter, stop))?;
    let curves = match &kept {
        None => Vec::new(),
        Some(kept) => pool.install(|| curves(&sets, &methods, kept, &meter, stop))?,
    };
    meter.lock().finish();
    let mut table = Table::new(&sets, rates);
    table.tokenization = tokenization;
    if let Some(folder) = &args.report {
        paper::write_report(folder, &table, &curves, &circumstances(args, threads))?;
    }
    if json {
        return output::json(&table);
    }
    output::line(table.to_string().trim_end())?;
    match &args.report {
        Some(folder) => output::line(&format!("\n{}", folder.join("index.html").display())),
        None => Ok(()),
    }
}

fn rates(
    sets: &[DataSet],
    contenders: &[Contender],
    kept: Option<&Kept>,
    meter: &Mutex<Meter>,
    stop: &Stop,
) -> Result<Vec<paper::Rate>, Error> {
    let bytes = sets.iter().map(DataSet::bytes).sum();
    let progress = |share: f64, left: Option<Duration>| {
        let note = left.map_or_else(String::new, |left| format!("about {} left", minutes(left)));
        meter.lock().show(&Progress {
            stage: "measuring".into(),
            done: (share * bytes as f64) as u64,
            total: bytes,
            note,
        });
    };
    let nothing = HashMap::new();
    let known = kept.map_or(&nothing, |kept| &kept.rates);
    let found = |rate: &paper::Rate| kept.map_or(Ok(()), |kept| kept.add_rate(rate));
    paper::measure(sets, contenders, known, &found, &progress, stop)
}

/// The models with smaller vocabularies. With their own they were measured already.
fn tokenization(
    sets: &[DataSet],
    methods: &[Method],
    rates: &[paper::Rate],
    kept: Option<&Kept>,
    meter: &Mutex<Meter>,
    stop: &Stop,
) -> Result<Vec<Tokenization>, Error> {
    let mut known: HashMap<paper::Key, paper::Rate> = kept.map(|kept| kept.rates.clone()).unwrap_or_default();
    known.extend(rates.iter().map(|rate| (rate.key.clone(), rate.clone())));
    let models: Vec<Named<'_>> = methods
        .iter()
        .filter_map(|method| {
            method
                .model
                .as_ref()
                .map(|(model, bytes)| (method.name.as_str(), model, *bytes))
        })
        .collect();
    let progress = |share: f64, left: Option<Duration>| {
        let left = left.map_or_else(String::new, |left| format!(", about {} left", minutes(left)));
        meter.lock().show(&Progress {
            stage: "smaller vocabularies".into(),
            note: format!("{:.0} %{left}", 100.0 * share),
            ..Progress::default()
        });
    };
    let found = |rate: &paper::Rate| kept.map_or(Ok(()), |kept| kept.add_rate(rate));
    paper::tokenization(sets, &models, &known, &found, &progress, stop)
}

/// The curves of every predictor on every data set of one piece.
fn curves(
    sets: &[DataSet],
    methods: &[Method],
    kept: &Kept,
    meter: &Mutex<Meter>,
    stop: &Stop,
) -> Result<Vec<Curve>, Error> {
    let sets: Vec<&DataSet> = sets.iter().filter(|set| set.chunked).collect();
    let total = (sets.len() * methods.len()) as u64;
    let mut curves = Vec::new();
    for set in sets {
        for method in methods {
            let same =
                |curve: &&Curve| curve.set == set.name && curve.digest == set.digest && curve.predictor == method.name;
            if let Some(known) = kept.curves.iter().find(same) {
                curves.push(known.clone());
                continue;
            }
            let open = || match &method.model {
                None => Ok(Predicted::mix(set.layout())),
                Some((model, _)) => Predicted::model(Arc::clone(model)).map_err(|error| Error::Compressor {
                    compressor: method.name.clone(),
                    path: set.name.into(),
                    reason: error.to_string(),
                }),
            };
            let bytes = method.model.as_ref().map_or(0, |(_, bytes)| *bytes);
            if let Some(curve) = paper::curve(set, &method.name, bytes, &open, stop)? {
                kept.add_curve(&curve)?;
                curves.push(curve);
            }
            meter.lock().show(&Progress {
                stage: "learning in context".into(),
                note: format!("{} of {total} curves", curves.len()),
                ..Progress::default()
            });
        }
    }
    Ok(curves)
}

/// The methods of `--with`.
fn methods(with: &[String], engine: EngineChoice) -> anyhow::Result<Vec<Method>> {
    let mut methods: Vec<Method> = Vec::new();
    for name in with {
        let method = if name == "mix" {
            Method {
                name: name.clone(),
                model: None,
            }
        } else {
            let source = match builtin::list().iter().find(|model| model.name == name) {
                Some(model) => ModelSource::Builtin(model.name),
                None => name.parse()?,
            };
            let model = trial::load(&source, engine)?;
            let (name, bytes) = match &source {
                ModelSource::Builtin(name) => ((*name).to_owned(), builtin::find(name)?.gguf.len() as u64),
                ModelSource::Path(path) => (stem(path), std::fs::metadata(path)?.len()),
            };
            Method {
                name,
                model: Some((model, bytes)),
            }
        };
        if methods.iter().any(|known| known.name == method.name) {
            bail!("--with names {} twice", method.name);
        }
        methods.push(method);
    }
    Ok(methods)
}

/// The rows: peers first, as in the paper.
fn contenders(methods: &[Method]) -> lmfs_codec::Result<Vec<Contender>> {
    let mut contenders = paper::peers();
    for method in methods {
        match &method.model {
            None => contenders.push(Contender::mix()?),
            Some((model, bytes)) => {
                for alone in [true, false] {
                    contenders.push(Contender::model(&method.name, model, *bytes, alone)?);
                }
            }
        }
    }
    Ok(contenders)
}

fn stem(path: &Path) -> String {
    path.file_stem()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned()
}

/// What a reader has to know to measure the same.
fn circumstances(args: &Paper, threads: usize) -> Circumstances {
    // What is no text is shown nearly as it is.
    let words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    let words = words.map(|word| match word.contains([' ', '\'']) {
        true => format!("'{}'", word.replace('\'', "'\\''")),
        false => word,
    });
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processor = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut facts = vec![
        ("program", format!("lmfs {}", env!("CARGO_PKG_VERSION"))),
        (
            "processor",
            processor.map_or(std::env::consts::ARCH, |(_, name)| name).to_owned(),
        ),
        ("cores", cores.to_string()),
        ("threads", if threads == 0 { cores } else { threads }.to_string()),
        ("limit of each kind of data", byte_size::show(args.limit)),
        (
            "peers in the program",
            "zlib-rs (gzip), liblzma, zstd, oxipng 10, flacenc".to_owned(),
        ),
    ];
    for program in crate::eval::Program::installed() {
        facts.push(("installed peer", program.version()));
    }
    Circumstances {
        command: words.collect::<Vec<_>>().join(" "),
        facts,
    }
}

fn minutes(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..90 => format!("{seconds} s"),
        seconds @ 90..5400 => format!("{} min", seconds.div_ceil(60)),
        seconds => format!("{:.1} h", seconds as f64 / 3600.0),
    }
}
