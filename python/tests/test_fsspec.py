"""The filesystem, alone and under the libraries that use it."""

import gc
import os
import pickle

import fsspec
import pytest

import lmfs

TEXT = b"".join(b"%08d,%d,word%d\n" % (n, n % 97, n % 13) for n in range(60_000))


@pytest.fixture
def fs():
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    return fsspec.filesystem("lmfs", target_protocol="memory", skip_instance_cache=True)


def test_sizes_and_ranges_are_those_of_the_content(fs):
    fs.pipe_file("/a/text", TEXT)
    stored = fs.fs.info("/a/text")["size"]
    assert stored < len(TEXT) / 2
    for found in (fs.info("/a/text"), fs.ls("/a")[0], fs.find("/a", detail=True)["/a/text"]):
        assert (found["size"], found["stored_size"], found["name"]) == (len(TEXT), stored, "/a/text")
    assert fs.size("/a/text") == len(TEXT)
    assert fs.cat_file("/a/text", 500_000, 500_100) == TEXT[500_000:500_100]
    assert fs.cat_file("/a/text", -100) == fs.tail("/a/text", 100) == TEXT[-100:]
    assert fs.cat_file("/a/text", 10, -10) == TEXT[10:-10]
    assert fs.head("/a/text", 7) == TEXT[:7]
    assert fs.cat_ranges(["/a/text"] * 3, [0, 10, -5], [5, 20, None]) == [TEXT[:5], TEXT[10:20], TEXT[-5:]]
    missing = fs.cat_ranges(["/a/text", "/none"], 0, 5)
    assert missing[0] == TEXT[:5] and isinstance(missing[1], FileNotFoundError)
    with pytest.raises(FileNotFoundError):
        fs.cat_ranges(["/none"], 0, 5, on_error="raise")


def test_other_files_pass_through_and_containers_are_wrapped(fs):
    fs.fs.pipe_file("/plain", TEXT)
    fs.fs.pipe_file("/tiny", b"x")
    assert fs.cat_file("/plain") == TEXT and fs.info("/plain")["size"] == len(TEXT)
    assert fs.cat_file("/tiny") == b"x" and fs.cat_file("/tiny", 0, 1) == b"x"
    container = lmfs.compress(TEXT, level=1)
    for content in (container, container[:-5], container[9:], b"", b"y", os.urandom(100_000)):
        fs.pipe_file("/file", content)
        assert fs.cat_file("/file") == content and fs.info("/file")["size"] == len(content)
        with fs.open("/file", "wb") as out:
            out.write(content)
        assert fs.cat_file("/file") == content and fs.info("/file")["size"] == len(content)
    fs.fs.pipe_file("/damaged", container[:-5])
    assert fs.info("/damaged")["size"] == len(container) - 5
    with pytest.raises(lmfs.DamagedError):
        fs.open("/damaged")


def test_what_fails_does_not_appear(fs):
    fs.pipe_file("/file", b"old")
    with pytest.raises(KeyError):
        with fs.open("/file", "wb") as out:
            out.write(TEXT)
            raise KeyError
    assert fs.cat_file("/file") == b"old"
    with pytest.raises(FileExistsError):
        fs.open("/file", "xb")
    with pytest.raises(FileExistsError):
        fs.pipe_file("/file", b"new", mode="create")
    with pytest.raises(NotImplementedError):
        fs.open("/file", "ab")
    with pytest.raises(NotImplementedError):
        fs.sign("/file")
    with fs.transaction:
        with fs.open("/later", "wb") as out:
            out.write(TEXT)
        assert not fs.exists("/later")
    assert fs.cat_file("/later") == TEXT


@pytest.mark.filterwarnings("ignore:what was written is incomplete")
@pytest.mark.parametrize("mode", ["wb", "w"])
@pytest.mark.parametrize("way", ["filesystem", "url", "close"])
def test_what_fails_leaves_what_was_there(fs, mode, way):
    """Regression: text, fsspec.open and close() put what was written so far in the place of the whole file."""
    fs.pipe_file("/file", b"old")
    some = TEXT[:1000].decode() if mode == "w" else TEXT[:1000]

    def opened():
        return fs.open("/file", mode) if way != "url" else fsspec.open("lmfs::memory://file", mode)

    with pytest.raises(KeyError):
        if way == "close":
            out = opened()
            try:
                out.write(some)
                raise KeyError
            finally:
                out.close()
        else:
            with opened() as out:
                out.write(some)
                raise KeyError
    assert fs.cat_file("/file") == b"old"
    # Forgotten, in text of which a part has not come here yet.
    out = opened()
    out = out.open() if way == "url" else out
    out.write(some)
    del out
    gc.collect()
    assert fs.cat_file("/file") == b"old"
    # What was being handled already has nothing to do with the file.
    try:
        raise KeyError
    except KeyError:
        with opened() as out:
            out.write(some)
    assert fs.cat_file("/file") == TEXT[:1000]


def test_what_fails_in_a_transaction_stays_out_of_it(fs):
    fs.pipe_file("/file", b"old")
    with fs.transaction:
        with pytest.raises(KeyError):
            with fs.open("/file", "wb") as out:
                out.write(TEXT)
                raise KeyError
        with fs.open("/other", "wb") as out:
            out.write(TEXT)
    assert fs.cat_file("/file") == b"old" and fs.cat_file("/other") == TEXT
    with pytest.raises(NotImplementedError):
        fs.open("/file.gz", "wb", compression="infer")


def test_a_replaced_file_has_its_own_size(fs):
    for length in (500_000, 400_000, 40, 300_000):
        fs.pipe_file("/file", TEXT[:length])
        assert fs.info("/file")["size"] == length
        assert fs.cat_file("/file") == TEXT[:length]


def test_a_file_that_is_packed_while_it_is_opened_is_read_as_its_content(fs, monkeypatch):
    """Regression: the bytes of the container came."""
    fs.fs.pipe_file("/file", TEXT)
    opened = []
    plain = fs.fs.open

    def packed_then(path, *args, **options):
        file = plain(path, *args, **options)
        opened.append(path)
        if len(opened) == 1:
            fs.fs.pipe_file("/file", lmfs.compress(TEXT, level=1))
        return file

    monkeypatch.setattr(fs.fs, "open", packed_then)
    assert fs.cat_file("/file") == TEXT
    monkeypatch.undo()
    # One that is a container by its start alone is damaged, whoever cut it.
    fs.fs.pipe_file("/file", lmfs.compress(TEXT, level=1)[:-9])
    with pytest.raises(lmfs.DamagedError):
        fs.cat_file("/file")


def test_urls_and_pickles(fs, tmp_path):
    path = tmp_path / "text"
    with fsspec.open(f"lmfs::file://{path}", "wb") as out:
        out.write(TEXT)
    assert path.stat().st_size < len(TEXT) / 2
    assert lmfs.open(path).read() == TEXT
    with fsspec.open(f"lmfs::file://{path}", "rt") as file:
        assert file.readline() == "00000000,0,word0\n"
    with fsspec.open(f"simplecache::lmfs::file://{path}", "rb") as file:
        assert file.read() == TEXT
    other = pickle.loads(pickle.dumps(fsspec.filesystem("lmfs", target_protocol="file")))
    assert other.cat_file(str(path), 5, 10) == TEXT[5:10]
    with pytest.raises(ValueError):
        fsspec.filesystem("lmfs")


@pytest.fixture
def table(tmp_path):
    """The same table plain and compressed."""
    header = b"number,rest,word\n"
    (tmp_path / "plain.csv").write_bytes(header + TEXT)
    with fsspec.open(f"lmfs::file://{tmp_path}/packed.csv", "wb") as out:
        out.write(header + TEXT)
    return tmp_path


def test_pandas(table):
    pandas = pytest.importorskip("pandas")
    plain = pandas.read_csv(table / "plain.csv")
    assert pandas.read_csv(f"lmfs::file://{table}/packed.csv").equals(plain)
    plain.to_json(f"lmfs::file://{table}/packed.json", orient="records", lines=True)
    assert pandas.read_json(f"lmfs::file://{table}/packed.json", lines=True).equals(plain)


def test_dask(table):
    dataframe = pytest.importorskip("dask.dataframe")
    pandas = pytest.importorskip("pandas")
    plain = pandas.read_csv(table / "plain.csv")
    for blocksize in (100_000, 333_333):
        read = dataframe.read_csv(f"lmfs::file://{table}/packed.csv", blocksize=blocksize)
        assert read.npartitions > 2
        found = read.compute(scheduler="threads").reset_index(drop=True)
        assert (found.number == plain.number).all() and found.rest.sum() == plain.rest.sum()


def test_pyarrow(table):
    dataset = pytest.importorskip("pyarrow.dataset")
    from pyarrow.fs import FSSpecHandler, PyFileSystem

    fs = PyFileSystem(FSSpecHandler(fsspec.filesystem("lmfs", target_protocol="file")))
    packed = dataset.dataset(f"{table}/packed.csv", filesystem=fs, format="csv")
    plain = dataset.dataset(f"{table}/plain.csv", format="csv")
    assert packed.to_table().equals(plain.to_table())
    assert packed.count_rows(filter=dataset.field("rest") == 5) == plain.count_rows(filter=dataset.field("rest") == 5)


def test_duckdb(table):
    duckdb = pytest.importorskip("duckdb")
    connection = duckdb.connect()
    connection.register_filesystem(fsspec.filesystem("lmfs", target_protocol="file"))
    connection.execute("SET threads = 4")
    query = "SELECT word, count(*), sum(rest) FROM read_csv('{}') GROUP BY word ORDER BY word"
    packed = connection.execute(query.format(f"lmfs://{table}/packed.csv")).fetchall()
    assert packed == connection.execute(query.format(f"{table}/plain.csv")).fetchall()
