"""compression="lmfs", where a stream is enough."""

import fsspec
import pytest

import lmfs
import lmfs.fsspec  # noqa: F401  registers it

TEXT = b"".join(b"%08d,%d,word%d\n" % (n, n % 97, n % 13) for n in range(30_000))


def test_streams_are_written_and_read(tmp_path):
    path = str(tmp_path / "text.csv.lmz")
    with fsspec.open(path, "wb", compression="lmfs") as out:
        out.write(TEXT)
    assert lmfs.open(path).read() == TEXT
    with fsspec.open(path, "rt", compression="lmfs") as file:
        assert file.readline() == "00000000,0,word0\n"
    with fsspec.open(path, "rb", compression="lmfs") as file:
        file.seek(-17, 2)
        assert file.read() == TEXT[-17:]
    with fsspec.open(path, "rb", compression="lmfs") as file:
        pandas = pytest.importorskip("pandas")
        assert len(pandas.read_csv(file, header=None)) == 30_000


def test_the_extension_alone_changes_nothing(tmp_path):
    """Whoever puts lmfs:: before a URL would decompress twice."""
    fs = fsspec.filesystem("lmfs", target_protocol="file")
    fs.pipe_file(str(tmp_path / "text.csv.lmz"), TEXT)
    with fsspec.open(f"lmfs::file://{tmp_path}/text.csv.lmz", "rb", compression="infer") as file:
        assert file.read() == TEXT
    with fsspec.open(f"lmfs::file://{tmp_path}/text.csv.lmz", "rb", compression="lmfs") as file:
        assert file.read() == TEXT


@pytest.mark.filterwarnings("ignore:what was written is incomplete")
def test_what_fails_is_no_whole_file(tmp_path):
    path = str(tmp_path / "text.lmz")
    with pytest.raises(KeyError):
        with fsspec.open(path, "wb", compression="lmfs") as out:
            out.write(TEXT)
            raise KeyError
    with pytest.raises(lmfs.DamagedError):
        lmfs.open(path)


def test_a_source_that_cannot_seek_is_read(tmp_path):
    class Pipe:
        """As what comes from a process or a socket."""

        def __init__(self, data):
            self.data = data

        def read(self, size=-1):
            size = len(self.data) if size < 0 else min(size, 1000)
            piece, self.data = self.data[:size], self.data[size:]
            return piece

        def seekable(self):
            return False

        def close(self):
            pass

    decompress = fsspec.compression.compr["lmfs"]
    packed = lmfs.compress(TEXT, level=1)
    with decompress(Pipe(packed + packed), mode="rb") as file:
        assert file.read(5) == TEXT[:5] and file.read() == (TEXT + TEXT)[5:]
    with pytest.raises(lmfs.DamagedError):
        decompress(Pipe(packed[:-3]), mode="rb").read()


def test_dask_reads_whole_files(tmp_path):
    dataframe = pytest.importorskip("dask.dataframe")
    for number in range(3):
        (tmp_path / f"{number}.csv.lmz").write_bytes(lmfs.compress(b"number,rest,word\n" + TEXT, level=1))
    read = dataframe.read_csv(f"{tmp_path}/*.lmz", compression="lmfs", blocksize=None)
    assert len(read.compute(scheduler="threads")) == 90_000
