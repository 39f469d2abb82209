//! The table that `python/tools/libraries.py` makes, byte for byte.

/// How a table is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Comma separated, with a header.
    Csv,
    /// One object a line.
    Json,
}

impl Kind {
    /// The end of a name.
    pub fn extension(self) -> &'static str {
        match self {
            Kind::Csv => "csv",
            Kind::Json => "json",
        }
    }
}

/// At least `size` bytes of rows.
pub fn written(kind: Kind, size: usize) -> String {
    let header = match kind {
        Kind::Csv => "number,time,path,status,bytes\n",
        Kind::Json => "",
    };
    let mut text = String::from(header);
    let mut number = 0_u64;
    while text.len() - header.len() < size {
        let (time, page) = (1_700_000_000 + number / 3, number / 13 % 977);
        let status = if number.is_multiple_of(11) { 404 } else { 200 };
        let bytes = number * 7919 % 100_000;
        let line = match kind {
            Kind::Csv => format!("{number},{time},/pages/{page}/index.html,{status},{bytes}\n"),
            Kind::Json => format!(
                "{{\"number\": {number}, \"time\": {time}, \"path\": \"/pages/{page}/index.html\", \
                 \"status\": {status}, \"bytes\": {bytes}}}\n"
            ),
        };
        text.push_str(&line);
        number += 1;
    }
    text
}
