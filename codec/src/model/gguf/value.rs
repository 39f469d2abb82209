//! What a GGUF file consists of.

/// A metadata value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Any integer type.
    Integer(i128),
    /// Any floating-point type.
    Float(f64),
    /// A boolean.
    Bool(bool),
    /// A string; GGUF says UTF-8, but token texts need not be.
    Text(Vec<u8>),
    /// An array of values of one type.
    Array(Vec<Value>),
}

/// A tensor's entry in the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// Extents, the fastest-varying first (ggml's `ne`).
    pub shape: Vec<u64>,
    /// ggml type number: 0 is F32, 1 is F16, 8 is Q8_0.
    pub kind: u32,
    /// Where its data starts in the file.
    pub offset: usize,
    /// Bytes of its data.
    pub len: usize,
}
