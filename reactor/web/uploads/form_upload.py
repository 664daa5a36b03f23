"""The files of a form (multipart/form-data), each published under its own name."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

from reactor.errors import ProtocolError, counted
from reactor.messages.body import Body
from reactor.tasks.operations import sleep
from reactor.web.semantics.multipart import FormParser, FormPart
from reactor.web.storage.disk_errors import WHEN_STORING_FORMS
from reactor.web.storage.safe_path import Place, Root
from reactor.web.uploads.atomic_file import WRITE_BYTES, AtomicFile, discard_in_pool
from reactor.web.uploads.disk_room import MakeRoom, append_with_room, with_room

T = TypeVar("T")

FIELD_BYTES: Final = 64 * 1024  # the limit of an ordinary field of a form; its content is dropped
_TURN: Final = 64  # pieces and events of a form, after which other connections have their turn


class FormFiles:
    """The files of one form, each of them an upload."""

    def __init__(
        self,
        root: Root,
        directory: tuple[str, ...],
        forget: Callable[[Place], None],
        make_room: MakeRoom,
        depth: int,
    ) -> None:
        """A missing directory is made for the first file, at most `depth` deep."""
        self.stored: list[dict[str, object]] = []
        self._root = root
        self._directory = directory
        self._forget = forget
        self._make_room = make_room
        self._depth = depth
        self._part = FormPart("", None, "")
        self._size = 0  # the size of an ordinary field
        self._steps = 0
        self._upload: AtomicFile | None = None

    async def receive(self, parser: FormParser, body: Body) -> None:
        """Receive the form. After an error, published files stay; the current one is discarded."""
        try:
            while piece := await body.read(WRITE_BYTES):
                parser.feed(piece)
                await self._take_events(parser)
                await self._step()
            parser.end()
        except GeneratorExit:
            raise
        except BaseException as error:
            await self._give_up()
            if isinstance(error, ProtocolError) and self.stored:
                error.reason += f" Before that, {_files(len(self.stored))} stored."
            raise

    async def _take_events(self, parser: FormParser) -> None:
        while (event := parser.next_event()) is not None:
            if isinstance(event, FormPart):
                await self._begin(event)
            elif isinstance(event, bytes):
                await self._write(event)
            else:
                await self._end()
            await self._step()

    async def _step(self) -> None:
        """Let other connections have their turn now and then: dropped fields wait for nothing."""
        self._steps += 1
        if self._steps % _TURN == 0:
            await sleep(0)

    async def _begin(self, part: FormPart) -> None:
        self._part = part
        self._size = 0
        if part.filename:
            segments = (*self._directory, part.filename)
            self._upload = AtomicFile(self._root, segments, depth=self._depth)
            await self._run(self._upload.begin)

    async def _write(self, piece: bytes) -> None:
        if self._upload is not None:
            await append_with_room(self._make_room, self._upload.place, self._upload, piece)
            return
        if self._part.filename is not None:
            raise ProtocolError(400, f"Part {self._part.name!a} has file content but no filename.")
        self._size += len(piece)
        if self._size > FIELD_BYTES:
            raise ProtocolError(
                413, f"Field {self._part.name!a} has more than {FIELD_BYTES} bytes."
            )

    async def _end(self) -> None:
        if self._upload is None:
            return
        stored = await self._run(self._upload.commit)
        self._forget(stored.place)
        size, self._upload = self._upload.size, None
        name = self._part.filename
        self.stored.append({"name": name, "size": size, "replaced": stored.replaced})

    async def _run(self, function: Callable[..., T], *arguments: Any) -> T:
        assert self._upload is not None
        place = self._upload.place
        return await with_room(
            self._make_room, place, function, *arguments, table=WHEN_STORING_FORMS
        )

    async def _give_up(self) -> None:
        upload, self._upload = self._upload, None
        if upload is not None:
            await discard_in_pool(upload)
            if upload.place is not None:
                self._forget(upload.place)


def _files(count: int) -> str:
    return counted(count, "file of the form was", "files of the form were")
