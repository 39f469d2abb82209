//! Plots as SVG, without a script or a font of their own.

use std::fmt::Write;

/// A line of a plot.
pub struct Series<'a> {
    /// Its name.
    pub name: &'a str,
    /// Places, values, and half the width of a band.
    pub points: Vec<(f64, f64, f64)>,
}

/// Colours that people with any kind of colour vision tell apart (Okabe and Ito).
const COLOURS: [&str; 7] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000",
];
const DASHES: [&str; 3] = ["", "6 3", "2 3"];

/// The size of a plot and its margins: left, right, top, bottom.
const SIZE: (f64, f64) = (400.0, 280.0);
/// Most that a character of a tick is wide.
const LETTER: f64 = 7.5;
const MARGINS: (f64, f64, f64, f64) = (46.0, 10.0, 10.0, 40.0);

/// Text inside of markup.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}

/// A plot over a logarithmic axis, with its legend. Values are shown in percent, from zero.
#[must_use]
pub fn plot(x_label: &str, y_label: &str, series: &[Series<'_>], tick: fn(f64) -> String) -> String {
    let all = || series.iter().flat_map(|series| series.points.iter());
    let least = all().map(|point| point.0).fold(f64::INFINITY, f64::min).max(1e-9);
    let most = all().map(|point| point.0).fold(0.0, f64::max).max(least * 2.0);
    let top = nice(all().map(|point| point.1 + point.2).fold(0.0, f64::max));
    let (left, right, above, below) = MARGINS;
    let (width, height) = (SIZE.0 - left - right, SIZE.1 - above - below);
    let x = |value: f64| left + width * (value / least).ln() / (most / least).ln();
    let y = |value: f64| above + height * (1.0 - (value / top).clamp(0.0, 1.0));

    let mut svg = format!(
        "<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{} by {}\">\n",
        SIZE.0,
        SIZE.1,
        escaped(y_label),
        escaped(x_label)
    );
    let mut add = |text: std::fmt::Arguments<'_>| {
        // Writing to a string does not fail.
        let _ = svg.write_fmt(text);
    };
    for i in 0..=4 {
        let value = top * f64::from(i) / 4.0;
        let at = y(value);
        add(format_args!(
            "<line class=\"grid\" x1=\"{left}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/><text x=\"{:.1}\" \
             y=\"{:.1}\" text-anchor=\"end\">{:.0}</text>\n",
            left + width,
            left - 5.0,
            at + 4.0,
            100.0 * value
        ));
    }
    let mut ticks: Vec<f64> = all().map(|point| point.0).collect();
    ticks.sort_by(f64::total_cmp);
    let mut end = f64::NEG_INFINITY;
    for value in ticks {
        let at = x(value.max(least));
        let text_width = LETTER * tick(value).chars().count() as f64;
        let (anchor, from) = if at > left + width - 20.0 {
            ("end", at - text_width)
        } else {
            ("middle", at - text_width / 2.0)
        };
        // One that would touch the one before is left out.
        if from < end + LETTER {
            continue;
        }
        end = from + text_width;
        add(format_args!(
            "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>\n",
            above + height + 15.0,
            escaped(&tick(value))
        ));
    }
    add(format_args!(
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n",
        left + width / 2.0,
        SIZE.1 - 7.0,
        escaped(x_label)
    ));
    for (i, line) in series.iter().enumerate() {
        let (colour, dash) = style(i);
        let place = |value: f64, y_value: f64| format!("{:.1},{:.1}", x(value.max(least)), y(y_value));
        if line.points.iter().any(|point| point.2 > 0.0) {
            let upper = line.points.iter().map(|point| place(point.0, point.1 + point.2));
            let lower = line
                .points
                .iter()
                .rev()
                .map(|point| place(point.0, (point.1 - point.2).max(0.0)));
            let band: Vec<String> = upper.chain(lower).collect();
            add(format_args!(
                "<polygon fill=\"{colour}\" opacity=\"0.15\" points=\"{}\"/>\n",
                band.join(" ")
            ));
        }
        let path: Vec<String> = line.points.iter().map(|point| place(point.0, point.1)).collect();
        add(format_args!(
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" stroke-dasharray=\"{dash}\" \
             points=\"{}\"/>\n",
            path.join(" ")
        ));
        for point in &line.points {
            let (at, value) = (x(point.0.max(least)), y(point.1));
            add(format_args!(
                "<circle cx=\"{at:.1}\" cy=\"{value:.1}\" r=\"2.5\" fill=\"{colour}\"/>\n"
            ));
        }
    }
    svg.push_str("</svg>\n<p class=\"legend\">");
    for (i, line) in series.iter().enumerate() {
        let (colour, dash) = style(i);
        let _ = write!(
            svg,
            "<span><svg class=\"key\" viewBox=\"0 0 24 8\"><line x1=\"0\" x2=\"24\" y1=\"4\" y2=\"4\" \
             stroke=\"{colour}\" stroke-width=\"2\" stroke-dasharray=\"{dash}\"/></svg> {}</span> ",
            escaped(line.name)
        );
    }
    svg.push_str("</p>\n");
    svg
}

fn style(i: usize) -> (&'static str, &'static str) {
    let colour = COLOURS.get(i % COLOURS.len()).copied().unwrap_or("black");
    (
        colour,
        DASHES
            .get(i / COLOURS.len() % DASHES.len())
            .copied()
            .unwrap_or_default(),
    )
}

/// The next round number.
fn nice(value: f64) -> f64 {
    let steps = [0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.6, 2.0, 4.0, 8.0];
    let found = steps.into_iter().find(|step| *step >= value);
    found.unwrap_or_else(|| 10_f64.powf(value.max(1e-9).log10().ceil()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_is_well_formed_and_inside_of_its_frame() {
        let series = [Series {
            name: "a <b> & c",
            points: vec![(16.0, 0.5, 0.1), (32.0, 0.25, 0.0), (4096.0, 0.2, 0.02)],
        }];
        let svg = plot("bytes", "rate", &series, |value| format!("{value:.0}"));
        assert_eq!(svg.matches("<svg").count(), svg.matches("</svg>").count());
        assert!(
            svg.contains("a &lt;b&gt; &amp; c") && !svg.contains("NaN") && !svg.contains("inf"),
            "{svg}"
        );
        assert_eq!(svg.matches("<circle").count(), 3);
        // Nothing to show is no reason to fail.
        assert!(!plot("x", "y", &[], |_| String::new()).contains("NaN"));
    }
}
