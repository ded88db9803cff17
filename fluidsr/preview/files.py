"""Pictures and movies as files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import zlib
from collections.abc import Generator
from types import TracebackType
from typing import Any

import numpy as np

from fluidsr.atomic import replacing, write_error
from fluidsr.errors import FluidsrError, InputError, RunError

_LEAST_FREE = 1 << 16  # bytes below which an encoder that stopped has filled the disk


def write_png(path: str | os.PathLike[str], picture: np.ndarray) -> None:
    """Write `picture` (uint8 sRGB `[h, w, 3]`, or `[h, w, 4]` with straight alpha). InputError for a bad path,
    RunError for a full disk."""
    from PIL import Image

    _check(picture, channels=(3, 4))
    with replacing(path) as temporary:
        # The dither of dark gradients leaves nothing to look for but runs.
        Image.fromarray(picture).save(temporary, format="PNG", compress_level=1, compress_type=zlib.Z_RLE)


def read_png(path: str | os.PathLike[str]) -> np.ndarray:
    """A picture as uint8 sRGB `[h, w, 3]`. Raises InputError where there is none."""
    from PIL import Image

    try:
        with Image.open(path, formats=["PNG"]) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(
            os.fspath(path), f"is not a readable PNG ({error})", "draw the frame again"
        ) from error


class MovieWriter:
    """An MP4 (H.264, yuv420p, plays in browsers) of pictures of one size; `fps` pictures a second.

    As a context manager it closes at the end and abandons the file on an exception. The file appears under
    its name in `close`, complete; `abandon` leaves nothing. A picture with an odd side gets its last row or
    column twice, since yuv420p halves the colour's resolution. Raises InputError for a bad path, rate or
    size, RunError where the encoder fails.
    """

    def __init__(self, path: str | os.PathLike[str], fps: float) -> None:
        if not 0.01 <= fps <= 1000:
            raise InputError("fps", f"{fps} pictures per second is out of range", "give 0.01 to 1000")
        self._path, self._fps = os.fspath(path), float(fps)
        self._shape: tuple[int, ...] | None = None
        self._count = 0
        self._encoder: Generator[None, Any, None] | None = None
        self._open = True
        self._file = contextlib.ExitStack()
        self._temporary = self._file.enter_context(replacing(path))
        with self._giving_up_on_errors():
            self._temporary.touch()  # a bad path shows here, before the work rather than after it

    def add(self, picture: np.ndarray) -> None:
        """Append `picture` (uint8 sRGB `[h, w, 3]`)."""
        _check(picture)
        if self._shape is None:
            self._shape = picture.shape
        if picture.shape != self._shape:
            raise InputError(
                self._path,
                f"the pictures differ in shape: {self._shape}, then {picture.shape}",
                "give pictures of one size",
            )
        even = np.pad(picture, ((0, picture.shape[0] % 2), (0, picture.shape[1] % 2), (0, 0)), mode="edge")
        with self._giving_up_on_errors():
            if self._encoder is None:
                self._encoder = self._start(even.shape[1], even.shape[0])
            self._encoder.send(np.ascontiguousarray(even))
        self._count += 1

    def close(self) -> None:
        """Finish the movie under its name. A second call does nothing."""
        if not self._open:
            return
        with self._giving_up_on_errors():
            if self._encoder is None:
                raise InputError(self._path, "the movie has no pictures", "give at least one")
            self._stop()
            self._verify()
        self._open = False
        self._file.close()

    def abandon(self) -> None:
        """Stop and leave nothing behind. After `close` it does nothing."""
        if not self._open:
            return
        self._open = False
        with contextlib.suppress(Exception):  # the encoder may be what failed
            self._stop()
        with contextlib.suppress(_Discarded):
            self._file.__exit__(_Discarded, _Discarded(), None)

    def __enter__(self) -> MovieWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()

    def _start(self, width: int, height: int) -> Generator[None, Any, None]:
        import imageio_ffmpeg

        encoder = imageio_ffmpeg.write_frames(
            str(self._temporary),
            (width, height),
            fps=self._fps,
            codec="libx264",
            quality=None,
            macro_block_size=2,
            ffmpeg_log_level="quiet",  # what it would say comes out as one line of ours
            # crf 16: dark gradients show blocks at the default of 23
            output_params=["-crf", "16", "-preset", "medium", "-movflags", "+faststart"],
        )
        encoder.send(None)
        return encoder

    def _stop(self) -> None:
        encoder, self._encoder = self._encoder, None
        if encoder is not None:
            encoder.close()

    def _verify(self) -> None:
        # The encoder's exit status is not passed on to us; a full disk shows as frames that are missing.
        import imageio_ffmpeg

        try:
            frames, _ = imageio_ffmpeg.count_frames_and_secs(str(self._temporary))
        except RuntimeError:
            frames = 0
        if frames != self._count and self._disk_is_full():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if frames != self._count:
            raise RunError(
                self._path,
                f"the encoder kept {frames} of {self._count} pictures",
                "check the space on the disk",
            )

    @contextlib.contextmanager
    def _giving_up_on_errors(self) -> Generator[None, None, None]:
        try:
            yield
        except OSError as error:
            failure = self._as_ours(error)
            self.abandon()
            raise failure from error
        except BaseException:
            self.abandon()
            raise

    def _as_ours(self, error: OSError) -> FluidsrError:
        """The error to raise; where the encoder's pipe broke, a look at the disk may say why."""
        if error.errno not in (None, errno.EPIPE):
            return write_error(self._path, error)
        if self._disk_is_full():
            return write_error(self._path, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        return RunError(
            self._path, "the encoder stopped", "write a folder of PNGs, or install imageio-ffmpeg again"
        )

    def _disk_is_full(self) -> bool:
        with contextlib.suppress(OSError):
            return shutil.disk_usage(self._temporary.parent).free < _LEAST_FREE
        return False


class _Discarded(Exception):
    """Passed to `replacing` to say that the file is not wanted."""


def _check(picture: np.ndarray, channels: tuple[int, ...] = (3,)) -> None:
    if (
        picture.dtype != np.uint8
        or picture.ndim != 3
        or picture.shape[2] not in channels
        or 0 in picture.shape
    ):
        raise InputError("picture", f"{picture.dtype} {picture.shape}", "give uint8 [height, width, 3]")
