//! The report: one page that needs nothing else, and every number as CSV.

use std::path::Path;

use super::curves::Curve;
use super::data::CHUNK;
use super::kept::write;
use super::rates::Rate;
use super::svg::{Series, escaped, plot};
use super::table::Table;
use super::tokenization;
use crate::eval::Error;

/// Where and how it was measured.
#[derive(Clone, Debug)]
pub struct Circumstances {
    /// The command line.
    pub command: String,
    /// Names and values: machine, versions.
    pub facts: Vec<(&'static str, String)>,
}

const STYLE: &str = "\
body{font:16px/1.5 system-ui,sans-serif;color:#111;background:#fff;max-width:1180px;margin:0 auto;padding:0 12px}\
h1{font-size:1.6em}h2{margin-top:2em;border-bottom:1px solid #ccc}\
.wide{overflow-x:auto}.words td,.words th{text-align:left}.words td:nth-child(2){white-space:normal;min-width:11em}\
table{border-collapse:separate;border-spacing:0;font-size:.9em;margin:.5em 0}\
th,td{padding:.15em .6em;text-align:right;border-bottom:1px solid #ddd;white-space:nowrap}\
th:first-child,td:first-child{text-align:left;position:sticky;left:0;background:#fff}\
.best{font-weight:bold}.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(340px,100%),1fr));gap:1em}\
figure{margin:0}figcaption{font-weight:bold}svg{width:100%;max-width:560px;height:auto}\
svg text{font:12px system-ui,sans-serif;fill:#333}.grid{stroke:#ddd}.legend{font-size:.85em;margin:0}\
.legend span{margin-right:1em;white-space:nowrap}.key{width:24px;height:8px}\
code{background:#f3f3f3;padding:.1em .3em;overflow-wrap:anywhere}\
@media print{body{font-size:13px}.wide{overflow:visible}table{font-size:.75em}figure,.wide,tr{break-inside:avoid}\
h2,h2+p{break-after:avoid}}";

/// Writes `index.html`, `rates.csv`, `curves.csv` and `tokenization.csv` into a folder.
///
/// # Errors
/// A file that cannot be written.
pub fn write_report(folder: &Path, table: &Table, curves: &[Curve], how: &Circumstances) -> Result<(), Error> {
    write(&folder.join("rates.csv"), &table.to_csv())?;
    write(&folder.join("curves.csv"), &curves_csv(curves))?;
    write(
        &folder.join("tokenization.csv"),
        &tokenization::csv(&table.tokenization),
    )?;
    write(&folder.join("index.html"), &page(table, curves, how))
}

fn curves_csv(curves: &[Curve]) -> String {
    let mut csv = "data,sha256,predictor,model_bytes,from,to,rate,band,texts\n".to_owned();
    for curve in curves {
        for point in &curve.points {
            csv.push_str(&format!(
                "{},{},\"{}\",{},{},{},{:.6},{:.6},{}\n",
                curve.set,
                curve.digest,
                curve.predictor.replace('"', "\"\""),
                curve.model_bytes,
                point.from,
                point.to,
                point.rate,
                point.band,
                point.texts
            ));
        }
    }
    csv
}

fn page(table: &Table, curves: &[Curve], how: &Circumstances) -> String {
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <title>Language modeling is compression, on this data</title>\n<style>{STYLE}</style></head><body>\n\
         <h1>Language modeling is compression, on this data</h1>\n\
         <p>The experiments of <i>Language Modeling Is Compression</i> (arXiv 2309.10668), made by lmfs. A rate is \
         bytes after compression by bytes before, in percent. All lengths are those of bytes that were decoded and \
         compared. The adjusted rate counts the model, weights and dictionaries that a decoder needs. Only the curves \
         of learning in context are bits of the predictors, before they are rounded up to bytes.</p>\n<h2>Data</h2>\n"
    );
    let head = ["data", "what it is", "files", "bytes", "SHA-256"].map(str::to_owned);
    let rows = table.sets.iter().map(|set| set.cells().to_vec()).collect();
    page.push_str(&table_of(&head, rows, "wide words"));
    for (chunk, title) in [(None, "Unchunked"), (Some(CHUNK as u64), "In chunks of 2,048 bytes")] {
        for adjusted in [false, true] {
            let what = if adjusted { "adjusted rate" } else { "raw rate" };
            page.push_str(&format!(
                "<h2>{title}: {what}</h2>\n{}",
                rates_table(table, chunk, adjusted)
            ));
        }
    }
    page.push_str(
        "<h2>Learning in context</h2>\n<p>What a byte costs by its place in a text of 4,096 bytes, averaged \
                   over texts spread over the data. Bands are 95 % confidence intervals.</p>\n<div class=\"plots\">\n",
    );
    for set in &table.sets {
        let of_set: Vec<&Curve> = curves.iter().filter(|curve| curve.set == set.name()).collect();
        if of_set.is_empty() {
            continue;
        }
        let series: Vec<Series<'_>> = of_set
            .iter()
            .map(|curve| Series {
                name: &curve.predictor,
                points: curve
                    .points
                    .iter()
                    .map(|point| ((point.from + point.to) as f64 / 2.0, point.rate, point.band))
                    .collect(),
            })
            .collect();
        let plot = plot("bytes of context", "percent", &series, |value| format!("{value:.0}"));
        page.push_str(&figure(set.name(), &plot));
    }
    page.push_str("</div>\n");
    page.push_str(&scaling(table));
    if !table.tokenization.is_empty() {
        page.push_str(
            "<h2>Tokenization</h2>\n<p>The same models alone, in chunks of 2,048 bytes, with vocabularies cut out of \
             their own: the single bytes and the first merges. Rates in percent, and processor time to encode and \
             decode.</p>\n",
        );
        let (head, rows) = tokenization::cells(&table.tokenization);
        page.push_str(&table_of(&head, rows, "wide"));
    }
    page.push_str("<h2>How it was measured</h2>\n");
    page.push_str(&format!("<p><code>{}</code></p>\n", escaped(&how.command)));
    let facts = how
        .facts
        .iter()
        .map(|(name, value)| vec![(*name).to_owned(), value.clone()])
        .collect();
    page.push_str(&table_of(&["".to_owned(), "".to_owned()], facts, "wide words"));
    page.push_str(
        "<p>Every number is in <code>rates.csv</code>, <code>curves.csv</code> and \
                   <code>tokenization.csv</code> beside this page.</p>\n",
    );
    page.push_str("</body></html>\n");
    page
}

fn figure(caption: &str, body: &str) -> String {
    format!("<figure><figcaption>{}</figcaption>{body}</figure>\n", escaped(caption))
}

fn table_of(head: &[String], rows: Vec<Vec<String>>, class: &str) -> String {
    let cell = |tag: &str, text: &String| match text.strip_prefix('*') {
        Some(best) => format!("<{tag} class=\"best\">{}</{tag}>", escaped(best)),
        None => format!("<{tag}>{}</{tag}>", escaped(text)),
    };
    let row = |tag: &str, cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|text| cell(tag, text)).collect();
        format!("<tr>{}</tr>\n", cells.concat())
    };
    let rows: Vec<String> = rows.iter().map(|cells| row("td", cells)).collect();
    format!(
        "<div class=\"{class}\"><table>{}{}</table></div>\n",
        row("th", head),
        rows.concat()
    )
}

/// The rates in percent. The least of a column stands out.
fn rates_table(table: &Table, chunk: Option<u64>, adjusted: bool) -> String {
    let value = |rate: &Rate| if adjusted { rate.adjusted() } else { rate.raw() };
    let sets: Vec<&str> = table
        .sets
        .iter()
        .map(|set| set.name())
        .filter(|set| table.has(set, chunk))
        .collect();
    let best = |set: &str| {
        let all = table
            .rates
            .iter()
            .filter(|rate| rate.key.set == set && rate.key.chunk == chunk);
        all.map(value).fold(f64::INFINITY, f64::min)
    };
    let mut head = vec![String::new()];
    head.extend(sets.iter().map(|set| (*set).to_owned()));
    let measured = |compressor: &&str| sets.iter().any(|set| table.rate(set, compressor, chunk).is_some());
    let rows = table.compressors().into_iter().filter(measured).map(|compressor| {
        let mut cells = vec![compressor.to_owned()];
        cells.extend(sets.iter().map(|set| match table.rate(set, compressor, chunk) {
            Some(rate) => {
                let mark = if value(rate) <= best(set) { "*" } else { "" };
                format!("{mark}{:.1}", 100.0 * value(rate))
            }
            None => "-".to_owned(),
        }));
        cells
    });
    table_of(&head, rows.collect(), "wide")
}

/// Rates by the size of the model, and how much data a model needs to pay for itself.
fn scaling(table: &Table) -> String {
    let mut html = "<h2>Scaling</h2>\n<p>Raw rates in chunks of 2,048 bytes by the bytes of everything learned \
                    beforehand.</p>\n<div class=\"plots\">\n"
        .to_owned();
    let chunk = Some(CHUNK as u64);
    for set in table.sets.iter().filter(|set| table.has(set.name(), chunk)) {
        let line = |name, alone: bool| {
            let rates = table.rates.iter().filter(|rate| {
                let key = &rate.key;
                key.set == set.name()
                    && key.chunk == chunk
                    && key.model_bytes > 0
                    && key.compressor.ends_with(" alone") == alone
            });
            let mut points: Vec<_> = rates
                .map(|rate| (rate.key.model_bytes as f64, rate.raw(), 0.0))
                .collect();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            Series { name, points }
        };
        let mut series = vec![line("mixed", false), line("model alone", true)];
        series.retain(|series| !series.points.is_empty());
        if !series.is_empty() {
            let plot = plot("bytes of the model", "percent", &series, megabytes);
            html.push_str(&figure(set.name(), &plot));
        }
    }
    html.push_str(
        "</div>\n<p>From how much data of its kind on a method is smaller than the best compressor that brings nothing \
         along, its own model counted. Computed from the rates in chunks.</p>\n",
    );
    let sets: Vec<&str> = table
        .sets
        .iter()
        .map(|set| set.name())
        .filter(|set| table.has(set, chunk))
        .collect();
    let mut head = vec![String::new()];
    head.extend(sets.iter().map(|set| (*set).to_owned()));
    let mut rows = Vec::new();
    for compressor in table.compressors() {
        let mut cells = vec![compressor.to_owned()];
        let mut any = false;
        for set in &sets {
            let rate = table
                .rate(set, compressor, chunk)
                .filter(|rate| rate.key.model_bytes > 0);
            any |= rate.is_some();
            cells.push(rate.map_or_else(|| "-".to_owned(), |rate| pays_from(table, set, rate)));
        }
        if any {
            rows.push(cells);
        }
    }
    html.push_str(&table_of(&head, rows, "wide"));
    html
}

fn megabytes(bytes: f64) -> String {
    if bytes < 1e6 {
        format!("{:.0} KB", bytes / 1e3)
    } else {
        format!("{:.1} MB", bytes / 1e6)
    }
}

fn pays_from(table: &Table, set: &str, rate: &Rate) -> String {
    let peers = table
        .rates
        .iter()
        .filter(|peer| peer.key.set == set && peer.key.chunk == rate.key.chunk && peer.key.model_bytes == 0);
    let best = peers.map(Rate::raw).fold(f64::INFINITY, f64::min);
    let gain = best - rate.raw();
    match gain > 0.0 && gain.is_finite() {
        true => megabytes(rate.key.model_bytes as f64 / gain),
        false => "never".to_owned(),
    }
}
