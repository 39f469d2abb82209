//! Drawing from the predictors of lmfs: the mixer alone, or mixed with a language model.

use std::sync::Arc;

use lmfs_codec::entropy::frequencies::Frequencies;
use lmfs_codec::entropy::token_tree::{DecisionModel, Place, TokenTree};
use lmfs_codec::mix::{DataLayout, Predictor};
use lmfs_codec::model::{Lanes, LanguageModel, Token};
use lmfs_codec::{MAX_BLOCK, Stop};

use super::Writer;
use super::sampler::{Costs, Draw, Pen, Sampler};
use crate::eval::Fault;

/// A block's predictors, in one lane.
pub struct Predicted {
    mixer: Predictor,
    layout: DataLayout,
    model: Option<Modelled>,
}

/// What a language model brings along.
struct Modelled {
    model: Arc<dyn LanguageModel>,
    lanes: Box<dyn Lanes>,
    tree: TokenTree,
    distribution: Frequencies,
    start: Token,
    longest: usize,
}

impl Predicted {
    /// The mixer alone, for data of a layout.
    #[must_use]
    pub fn mix(layout: DataLayout) -> Predicted {
        Predicted {
            mixer: Predictor::new(),
            layout,
            model: None,
        }
    }

    /// The mixer with a language model.
    ///
    /// # Errors
    /// A model that cannot be opened.
    pub fn model(model: Arc<dyn LanguageModel>) -> lmfs_codec::Result<Predicted> {
        let vocabulary = model.vocabulary();
        let longest = vocabulary
            .sorted()
            .iter()
            .map(|&token| vocabulary.bytes(token).len())
            .max();
        let modelled = Modelled {
            lanes: model.open(1)?,
            tree: TokenTree::new(vocabulary),
            distribution: Frequencies::new(vocabulary),
            // As blocks begin.
            start: vocabulary.bos().unwrap_or_else(|| vocabulary.byte_token(b'\n')),
            longest: longest.unwrap_or(1),
            model: Arc::clone(&model),
        };
        Ok(Predicted {
            mixer: Predictor::new(),
            layout: DataLayout::Plain,
            model: Some(modelled),
        })
    }

    /// The bits that every byte of `text` costs in one block: what its coded stream has, before rounding.
    ///
    /// # Errors
    /// What the model reports; a stop.
    pub fn costs(&mut self, text: &[u8], stop: &Stop) -> Result<Vec<f64>, Fault> {
        let mut costs = Costs::default();
        self.code(text, 0, &mut costs, &mut |_| (), stop)?;
        Ok(costs.bits)
    }

    /// Codes `known` and then `len` bytes that `pen` chooses, and returns those. `pen` sees what a block of
    /// `known.len() + len` bytes is coded with.
    pub(super) fn code<P: Pen>(
        &mut self,
        known: &[u8],
        len: usize,
        pen: &mut P,
        more: &mut dyn FnMut(usize),
        stop: &Stop,
    ) -> Result<Vec<u8>, Fault> {
        let block = known.len().saturating_add(len);
        if block > MAX_BLOCK {
            return Err(format!("prompt and text have {block} bytes, a block at most {MAX_BLOCK}").into());
        }
        if let Some(modelled) = &self.model {
            let tokens = modelled.model.tokenize(known)?;
            return self.code_tokens(&tokens, block, len, pen, more, stop);
        }
        self.mixer.reset_as(&[block], false, self.layout);
        let mut written = Vec::with_capacity(len);
        for i in 0..block {
            stop.check()?;
            let byte = known.get(i).copied();
            if byte.is_none() {
                pen.go_on_alone();
            }
            let mut found = 0;
            for k in (0..8).rev() {
                let p1 = self.mixer.predict_bit(0, None);
                let bit = pen.code(byte.unwrap_or_default() >> k & 1 == 1, p1);
                self.mixer.update(0, bit);
                found = found << 1 | u8::from(bit);
            }
            pen.complete(1);
            if byte.is_none() {
                written.push(found);
                more(written.len());
            }
        }
        Ok(written)
    }

    /// The same of known tokens. `block` is the bytes of these and `len` together.
    pub(super) fn code_tokens<P: Pen>(
        &mut self,
        known: &[Token],
        block: usize,
        len: usize,
        pen: &mut P,
        more: &mut dyn FnMut(usize),
        stop: &Stop,
    ) -> Result<Vec<u8>, Fault> {
        let Some(modelled) = &mut self.model else {
            return Err("there is no language model".into());
        };
        let vocabulary = modelled.model.vocabulary();
        // The last token may reach beyond what is wanted.
        let mut left = block + modelled.longest;
        self.mixer.reset(&[left], true);
        modelled.lanes.reset()?;
        let mut written = Vec::with_capacity(len);
        let mut fed = modelled.start;
        let mut known = known.iter();
        loop {
            stop.check()?;
            let wanted = known.next().copied();
            if wanted.is_none() {
                if written.len() >= len {
                    break;
                }
                pen.go_on_alone();
            }
            modelled.lanes.step(&[&[fed]])?;
            match modelled.lanes.ranked(0, 0) {
                Some(ranked) => modelled.distribution.set_ranked(ranked),
                None => modelled.distribution.set(modelled.lanes.logits(0, 0)),
            }
            let place = Place { lane: 0, left };
            let (tree, distribution) = (&modelled.tree, &modelled.distribution);
            let token = tree.code(
                vocabulary,
                distribution,
                pen,
                &mut self.mixer,
                place,
                wanted.unwrap_or_default(),
            );
            let token = token.ok_or("a token is longer than the longest")?;
            let bytes = vocabulary.bytes(token);
            left -= bytes.len();
            pen.complete(bytes.len());
            if wanted.is_none() {
                written.extend_from_slice(bytes);
                more(written.len().min(len));
            }
            fed = token;
        }
        written.truncate(len);
        Ok(written)
    }
}

impl Writer for Predicted {
    fn write(
        &mut self,
        prompt: &[u8],
        len: usize,
        sampler: &mut Sampler,
        more: &mut dyn FnMut(usize),
        stop: &Stop,
    ) -> Result<Vec<u8>, Fault> {
        self.code(prompt, len, &mut Draw::new(sampler), more, stop)
    }
}
