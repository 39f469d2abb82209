# The built-in models, made again: make train MODEL=small CORPUS=folder [BUDGET=3700 seconds, or SEEN=80e6 tokens: repeats to the bit] [START=models/small.gguf] [LIKE=the model whose tokens to keep]
# What it writes stays under RUNS; an interrupted run goes on where it stopped.

MODEL   ?= small
CORPUS  ?= corpora/train
HELDOUT ?= corpora/eval
RUNS    ?= training/runs
TOKENS  ?= 72e6
BUDGET  ?= 3700
SEEN    ?=
START   ?=
LIKE    ?=
RATE    ?= $(if $(START),0.6,1.0)
MICRO   ?= 2
AVERAGE ?= 0.5
PYTHON  ?= $(TRAINING_VENV)/bin/python

TRAINING_VENV := training/.venv
# Its python is a link to the system's, whose age says nothing.
TRAINING_SET_UP := $(TRAINING_VENV)/set-up
# Large blocks stay with the process: without this, half the time goes into fresh pages.
TRAINING_ENV  := PYTHONPATH=training MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=8589934592 MALLOC_TOP_PAD_=268435456
LMTRAIN       := $(TRAINING_ENV) $(PYTHON) -m lmtrain

.PHONY: train train-test train-export train-evaluate train-overlap train-dictionaries

train: $(RUNS)/tokens/pack.json  ## train a built-in model (MODEL=small CORPUS=folder), see training/README.md
	$(LMTRAIN) train --model $(MODEL) --tokens $(RUNS)/tokens --tokenizer $(RUNS)/tokenizer.json --out $(RUNS)/$(MODEL) \
	  $(if $(SEEN),--total-tokens $(SEEN),--seconds $(BUDGET)) --rate $(RATE) --micro $(MICRO) $(if $(START),--start $(START))

# Beside the checkpoints, not into models/: what is built in decodes what it wrote, so another model needs another name.
train-export: | $(TRAINING_SET_UP)
	$(LMTRAIN) export --checkpoint $(RUNS)/$(MODEL)/last.pt --tokenizer $(RUNS)/tokenizer.json --name $(MODEL) \
	  --average $(AVERAGE) --out $(RUNS)/$(MODEL).gguf

train-evaluate: | $(TRAINING_SET_UP)
	$(LMTRAIN) evaluate $(RUNS)/$(MODEL).gguf --against models/small.gguf --eval $(HELDOUT)

train-overlap: | $(TRAINING_SET_UP)
	$(LMTRAIN) overlap --corpus $(CORPUS) --eval $(HELDOUT)

# Only new ones, or before the first release: blocks name the dictionaries that wrote them.
train-dictionaries:
	cargo run --release --locked -p lmfs-codec --example dictionaries -- training/dictionaries.txt $(CORPUS) models/dictionaries

train-test: | $(TRAINING_SET_UP)
	cd training && $(abspath $(PYTHON)) -m unittest

$(RUNS)/tokens/pack.json: $(RUNS)/tokenizer.json training/mix.toml
	$(LMTRAIN) pack --corpus $(CORPUS) --tokenizer $< --tokens $(TOKENS) --out $(RUNS)/tokens

$(RUNS)/tokenizer.json: | $(TRAINING_SET_UP)
	$(LMTRAIN) tokenizer $(if $(LIKE),--like $(LIKE),--corpus $(CORPUS)) --out $@

$(TRAINING_SET_UP): training/requirements.txt
	python3 -m venv $(TRAINING_VENV)
	$(TRAINING_VENV)/bin/python -m pip install --quiet -r $<
	touch $@
