"""The abstract suite of fsspec, over memory and local files."""

import fsspec
import pytest
from fsspec.tests.abstract import (
    AbstractCopyTests,
    AbstractFixtures,
    AbstractGetTests,
    AbstractOpenTests,
    AbstractPipeTests,
    AbstractPutTests,
)


class Memory(AbstractFixtures):
    @pytest.fixture(scope="class")
    def fs(self):
        return fsspec.filesystem("lmfs", target_protocol="memory")

    @pytest.fixture
    def fs_path(self):
        return "/base"

    @pytest.fixture
    def supports_empty_directories(self):
        return True


class Local(Memory):
    @pytest.fixture(scope="class")
    def fs(self):
        return fsspec.filesystem("lmfs", target_protocol="file", target_options={"auto_mkdir": True})

    @pytest.fixture
    def fs_path(self, tmpdir):
        return str(tmpdir)


class TestMemoryCopy(Memory, AbstractCopyTests):
    pass


class TestMemoryGet(Memory, AbstractGetTests):
    pass


class TestMemoryPut(Memory, AbstractPutTests):
    pass


class TestMemoryOpen(Memory, AbstractOpenTests):
    pass


class TestMemoryPipe(Memory, AbstractPipeTests):
    pass


class TestLocalCopy(Local, AbstractCopyTests):
    pass


class TestLocalGet(Local, AbstractGetTests):
    pass


class TestLocalPut(Local, AbstractPutTests):
    pass


class TestLocalOpen(Local, AbstractOpenTests):
    pass


class TestLocalPipe(Local, AbstractPipeTests):
    pass
