"""The pipeline's command line: `python -m lmtrain STEP ...` (see README.md)."""

import argparse
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent


def main():
    """Parses the command line and runs one step."""
    parser = argparse.ArgumentParser(prog="lmtrain", description=__doc__)
    steps = parser.add_subparsers(dest="step", required=True)

    step = steps.add_parser("tokenizer", help="train the tokenizer on a sample of the corpus, or take a model's")
    source = step.add_mutually_exclusive_group(required=True)
    source.add_argument("--corpus", type=Path, help="the unpacked training corpus")
    source.add_argument("--like", type=Path, help="a GGUF model whose tokens to take as they are")
    step.add_argument("--mix", type=Path, default=HERE / "mix.toml")
    step.add_argument("--vocabulary", type=int, default=4096)
    step.add_argument("--megabytes", type=float, default=40)
    step.add_argument("--out", type=Path, required=True)

    step = steps.add_parser("pack", help="cut and tokenize the corpus into shards of rows")
    step.add_argument("--corpus", type=Path, required=True)
    step.add_argument("--mix", type=Path, default=HERE / "mix.toml")
    step.add_argument("--tokenizer", type=Path, required=True)
    step.add_argument("--tokens", type=float, required=True, help="about how many, such as 60e6")
    step.add_argument("--out", type=Path, required=True, help="folder for the shards")

    step = steps.add_parser("train", help="train a model, or go on with one that was interrupted")
    step.add_argument("--model", required=True, help="tiny, small, base (see model.SHAPES)")
    step.add_argument("--tokens", type=Path, required=True, help="folder written by pack")
    step.add_argument("--tokenizer", type=Path, required=True)
    step.add_argument("--out", type=Path, required=True, help="folder for checkpoints and the log")
    budget = step.add_mutually_exclusive_group(required=True)
    budget.add_argument("--seconds", type=float, help="training time; the schedule ends with it")
    budget.add_argument("--total-tokens", type=float, help="tokens to see; makes the run reproducible")
    step.add_argument("--processes", type=int, default=2, help="on CPUs: one per core")
    step.add_argument("--micro", type=int, default=2, help="rows at a time (2 for a CPU, 8 for a GPU)")
    step.add_argument("--seed", type=int, default=1)
    step.add_argument("--start", type=Path, help="a GGUF model to start from (other layers, KV heads and tokens allowed)")
    step.add_argument("--rate", type=float, default=1.0, help="factor on the learning rates")
    step.add_argument("--no-compile", action="store_true")

    step = steps.add_parser("export", help="write a checkpoint as GGUF")
    step.add_argument("--checkpoint", type=Path, required=True)
    step.add_argument("--tokenizer", type=Path, required=True)
    step.add_argument("--out", type=Path, required=True)
    step.add_argument("--type", choices=["q8_0", "f16", "f32"], default="q8_0")
    step.add_argument("--average", type=float, default=0.0, help="share of the averaged weights, 0 to 1")
    step.add_argument("--name", default="small")

    step = steps.add_parser("evaluate", help="bits per byte of held-out files, as the codec uses a model")
    step.add_argument("model", type=Path, help="a GGUF file")
    step.add_argument("--against", type=Path, help="another GGUF file to compare with")
    step.add_argument("--eval", type=Path, required=True, help="folder of evaluation files")
    step.add_argument("--limit", type=int, default=65536, help="bytes of each file")
    step.add_argument("--eight-bits", action="store_true", help="weights, activations and KV rounded to int8")
    step.add_argument("--curve", action="store_true", help="bits per byte by position in lanes of 16 KiB instead")
    step.add_argument("--json", type=Path, help="write the numbers here, too")

    step = steps.add_parser("overlap", help="runs of 13 words shared by training and evaluation text")
    step.add_argument("--corpus", type=Path, required=True)
    step.add_argument("--eval", type=Path, required=True)

    arguments = parser.parse_args()
    if arguments.step == "tokenizer":
        from . import corpus, tokenizer

        if arguments.like:
            from . import gguf_model

            tokenizer.take(gguf_model.GgufModel(arguments.like), arguments.out)
            return
        mix = corpus.read_mix(arguments.mix)
        tokenizer.train(arguments.corpus, mix, arguments.vocabulary, arguments.megabytes, arguments.out)
    elif arguments.step == "pack":
        from . import corpus, pack

        mix = corpus.read_mix(arguments.mix)
        pack.pack(arguments.corpus, mix, arguments.tokenizer, arguments.tokens, arguments.out)
    elif arguments.step == "train":
        from . import train

        train.run(
            train.Settings(
                model=arguments.model,
                tokens=arguments.tokens,
                tokenizer=arguments.tokenizer,
                out=arguments.out,
                budget=arguments.seconds or arguments.total_tokens,
                count="seconds" if arguments.seconds else "tokens",
                processes=arguments.processes,
                micro=arguments.micro,
                seed=arguments.seed,
                start=arguments.start,
                rate=arguments.rate,
                elastic=arguments.seconds is not None,
                compile=not arguments.no_compile,
            )
        )
    elif arguments.step == "export":
        from . import export

        export.export(
            arguments.checkpoint,
            arguments.tokenizer,
            arguments.out,
            arguments.type,
            arguments.average,
            arguments.name,
        )
    elif arguments.step == "evaluate":
        from . import evaluate

        evaluate.report(arguments)
    elif arguments.step == "overlap":
        from . import evaluate, overlap

        names = [name for names in evaluate.KINDS.values() for name in names]
        overlap.check(arguments.corpus, arguments.eval, names)


if __name__ == "__main__":
    main()
