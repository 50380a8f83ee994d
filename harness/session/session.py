"""Sessions: a trained avatar opened for rendering, from one thread or several."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from headbench.harness.avatar import Avatar
from headbench.harness.device import resolve_device
from headbench.harness.errors import BenchError
from headbench.harness.image import save_png, to_rgb8, to_uint8
from headbench.harness.session.drawn import NOT_FINITE, Drawn, sent
from headbench.harness.session.find import find_checkpoint
from headbench.harness.session.inference import recorded
from headbench.harness.session.renderer import View
from headbench.harness.splat import make_rasterizer
from headbench.harness.surface import OnSurface
from headbench.harness.tensors import FLOATS, write_float_picture
from headbench.harness.train import LoadedPortrait, load_portrait
from headbench.harness.train.frames import BACKGROUNDS
from headbench.harness.types import Camera, Gaussians, HeadParams, map_tensors

__all__ = ["Session", "open_checkpoint"]

CHUNK = 8
"""Number of pictures that are checked for NaN together, so that the device is waited for once per `CHUNK` pictures."""


def open_checkpoint(path: Path, device: str = "auto", rasterizer: str = "auto") -> Session:
    """Open a trained avatar for rendering; its dataset is not needed.

    Args:
        path: a checkpoint, or a stage's or a cell's folder, whose newest checkpoint is taken.
        device: auto, cpu, cuda or cuda:K.
        rasterizer: auto, or the name of a back end.

    Raises:
        BenchError: no checkpoint is there, it cannot be read, or the device or back end cannot be used.
        MissingAsset: the head model's files are not registered.

    Example:
        >>> session = open_checkpoint(checkpoint, "cpu")  # or Path("runs/demo/cells/…/seed0"): its newest checkpoint
        >>> image = session.render(frame.params, frame.camera, "white")
        >>> image.shape, image.dtype
        (torch.Size([1, 3, 32, 32]), torch.uint8)
    """
    where = resolve_device(device)
    checkpoint = find_checkpoint(path)
    return Session(load_portrait(checkpoint, str(where)), where, rasterizer, checkpoint)


_WRITERS = 8
"""Limit of the threads that write pictures beside rendering."""


class Session:
    """Renders one avatar. All methods may be called from several threads; they take turns.

    Args:
        loaded: the trained portrait, on `device`.
        device: where it renders.
        rasterizer: auto, or the name of a back end.
        path: the checkpoint's folder, where it came from one.

    Example:
        >>> with open_checkpoint(checkpoint, "cpu") as session:
        ...     image = session.render(frame.params, frame.camera.resized(16, 24), "black", alpha=True)
        >>> image.shape, image.dtype
        (torch.Size([1, 4, 24, 16]), torch.uint8)
    """

    def __init__(
        self, loaded: LoadedPortrait, device: torch.device, rasterizer: str = "auto", path: Path = Path()
    ) -> None:
        self.loaded = loaded
        self.path = path
        self.device = device
        self.rasterizer = make_rasterizer(rasterizer, device, depth=False)
        self.portrait = recorded(loaded.portrait, device)
        """The portrait that renders, by replay where it can; for measurements, by one thread at a time."""
        self._turn = threading.RLock()
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._open = True
        self._colours: dict[str, Tensor] = {}
        """Named backgrounds on the device, so that no picture waits for its colour."""

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the avatar and its recordings; rendering afterwards is an error. Closing twice is none."""
        with self._turn:
            self._open = False
            self.portrait = self.loaded.portrait

    def about(self) -> Mapping[str, str]:
        """Back end and type of device, which tell its pictures from others of the same weights."""
        return {"rasterizer": self.rasterizer.name, "device": self.device.type}

    def render(
        self,
        params: HeadParams,
        camera: Camera,
        background: str | Sequence[float] | Tensor = "white",
        kind: Literal["uint8", "float32"] = "uint8",
        alpha: bool = False,
    ) -> Tensor:
        """Pictures of the avatar as `params` pose it and `camera` sees it.

        Args:
            params: B poses, of the checkpoint's head model.
            camera: B cameras; they have the size of the pictures.
            background: white, black, green, or a colour (3,) or (B, 3) in [0, 1].
            kind: uint8 clamps to [0, 1] and rounds to 8 bit as scored pictures are; float32 is not clamped.
            alpha: add the coverage as a fourth channel. Colours stay as composited on `background`.

        Returns:
            (B, 3, H, W), or (B, 4, H, W) with alpha, on the session's device, in memory of its own.

        Raises:
            BenchError: the session is closed, the parameters are of another head model, or the picture has another
                shape than the camera says or values that are not finite.
        """
        image, finite = self._draw(params, camera, background, alpha)
        if not bool(finite):
            raise BenchError(NOT_FINITE)
        return to_uint8(image) if kind == "uint8" else image

    @property
    def draws_gaussians(self) -> bool:
        """Whether pictures are those of `gaussians`, so that these can be drawn again for another camera."""
        portrait = self.loaded.portrait
        return isinstance(portrait, Avatar) and type(portrait).render is Avatar.render

    @property
    def replays(self) -> bool:
        """Whether posing is replayed as a CUDA graph: it then costs the host less than `gaussians` does."""
        return self.portrait is not self.loaded.portrait

    def draw(
        self, shown: HeadParams | Gaussians, camera: Camera, background: str | Sequence[float] | Tensor = "white"
    ) -> Drawn:
        """One picture in 8 bit, as `render` makes it, without waiting for the device: `Drawn.read` does.

        Args:
            shown: a pose, B = 1, of the checkpoint's head model; or the Gaussians of one, as `gaussians` gave them,
                where `draws_gaussians`.
            camera: B = 1; it has the size of the picture.
            background: white, black, green, or a colour (3,) in [0, 1].

        Raises:
            BenchError: the session is closed, the parameters are of another head model, or the picture has another
                shape than the camera says.
        """
        head = shown.head if isinstance(shown, HeadParams) else self.loaded.identity.head
        with self._working(head), torch.no_grad():
            drawn = Drawn.of(self._image(shown, map_tensors(camera, self._sent), self._colour(background, 1)))
        self._handed(drawn.packed)
        return drawn

    def gaussians(self, params: HeadParams) -> Gaussians:
        """The Gaussians of a pose, in the world.

        Args:
            params: B poses, of the checkpoint's head model.

        Raises:
            BenchError: the avatar shows pictures and has no Gaussians, the session is closed, or the parameters are of
                another head model.
        """
        portrait = self.loaded.portrait
        if not isinstance(portrait, Avatar):
            raise BenchError(f"{self.loaded.about['method']} shows pictures and has no Gaussians.")
        with self._working(params.head), torch.no_grad():
            found = portrait.gaussians(map_tensors(params, self._sent))
        given: Gaussians = map_tensors(found, self._handed)
        return given

    def carrier(self, params: HeadParams) -> Tensor | None:
        """Vertices (B, V, 3) of the mesh that carries the Gaussians of a pose, in the world, with learned corrections.

        None where no mesh carries them (see `harness.surface.OnSurface`).

        Args:
            params: B poses, of the checkpoint's head model.

        Raises:
            BenchError: the session is closed, or the parameters are of another head model.
        """
        portrait = self.loaded.portrait
        if not isinstance(portrait, OnSurface):
            return None
        with self._working(params.head), torch.no_grad():
            found = portrait.carrier(map_tensors(params, self._sent))
        return self._handed(found)

    def stream(self, views: Sequence[View], background: str | Sequence[float] = "white") -> Iterator[Tensor]:
        """Yield 8-bit pictures (3, H, W) of views in order, on the host, waiting for the device once per `CHUNK`.

        Args:
            views: all of the checkpoint's head model.
            background: white, black, green, or a colour (3,) in [0, 1].

        Raises:
            BenchError: the session is closed, or a picture cannot be made (see `render`); the message names its view.
        """
        yield from (to_uint8(image).cpu() for image in self._rendered(views, background))

    def _rendered(self, views: Sequence[View], background: str | Sequence[float]) -> Iterator[Tensor]:
        """Yield float pictures (3, H, W) of views in order, on the device and not clamped; waits as `stream` does."""
        for start in range(0, len(views), CHUNK):
            some = views[start : start + CHUNK]
            rendered = [self._named(view, background) for view in some]
            finite = torch.stack([finite for _, finite in rendered]).tolist()
            for view, good in zip(some, finite, strict=True):
                if not good:
                    raise BenchError(f"{view.label()}: {NOT_FINITE}")
            yield from [image[0] for image, _ in rendered]

    def write(
        self,
        views: Sequence[View],
        folder: Path,
        background: str,
        wrote: Callable[[int, int], None] | None = None,
        floats: bool = False,
    ) -> None:
        """Write ``<name>.png`` of each view, 8-bit RGB, each file whole or not at all.

        Args:
            views: in the order of writing.
            folder: is made where it is missing.
            background: white, black or green.
            wrote: called with (pictures written, pictures in all).
            floats: write ``<name>.safetensors`` too, with the picture as half floats that are not clamped.

        Raises:
            BenchError: a picture cannot be made; the message names its view.
        """
        count, begun, written = min(_WRITERS, os.cpu_count() or 1), deque[Future[None]](), 0

        def settle(at_most: int) -> None:
            """Wait until so many pictures alone are not written yet, and tell of those that are, in order."""
            nonlocal written
            while begun and (len(begun) > at_most or begun[0].done()):
                begun.popleft().result()
                written += 1
                if wrote is not None:
                    wrote(written, len(views))

        with ThreadPoolExecutor(count) as writers:
            for view, image in zip(views, self._rendered(views, background), strict=True):
                if floats:
                    write_float_picture(folder / f"{view.name}{FLOATS}", image)
                begun.append(writers.submit(save_png, to_rgb8(image), folder / f"{view.name}.png"))
                settle(2 * count)
            settle(0)

    def _named(self, view: View, background: str | Sequence[float]) -> tuple[Tensor, Tensor]:
        try:
            return self._draw(view.params, view.camera, background, False)
        except BenchError as error:
            raise BenchError(f"{view.label()}: {error.args[0]}", error.help) from error

    def _draw(
        self, params: HeadParams, camera: Camera, background: str | Sequence[float] | Tensor, alpha: bool
    ) -> tuple[Tensor, Tensor]:
        """Render without waiting for the device.

        Args:
            params: B poses.
            camera: B cameras.
            background: white, black, green, or a colour (3,) or (B, 3) in [0, 1].
            alpha: whether to add the coverage as a fourth channel.

        Returns:
            ((B, 3, H, W), or (B, 4, H, W) with alpha; whether all of it is finite, () bool), on the device.
        """
        count = len(camera.w2c)
        with self._working(params.head), torch.no_grad():
            params, camera = params.to(self.device), camera.to(self.device)
            image = self._image(params, camera, self._colour(background, count))
            if alpha:
                image = torch.cat([image, self._coverage(params, camera)], dim=1)
            elif image.is_cuda:
                image = image.clone()
            finite = torch.isfinite(image).all()
        return self._handed(image), self._handed(finite)

    def _image(self, shown: HeadParams | Gaussians, camera: Camera, colour: Tensor) -> Tensor:
        """Float picture (B, 3, H, W) of poses, or of their Gaussians, on the device and not clamped.

        Args:
            shown: B poses, or their Gaussians.
            camera: B cameras on the device.
            colour: (B, 3) of the background, on the device.
        """
        if isinstance(shown, HeadParams):
            image = self.portrait.render(map_tensors(shown, self._sent), camera, colour, self.rasterizer)
        else:
            image = self.rasterizer(shown, camera, colour).image
        expected = (len(camera.w2c), 3, camera.height, camera.width)
        if tuple(image.shape) != expected:
            raise BenchError(f"render() gave shape {tuple(image.shape)}, expected {expected}.")
        return image

    def _sent(self, tensor: Tensor) -> Tensor:
        return sent(tensor, self.device)

    def _handed(self, tensor: Tensor) -> Tensor:
        """Hand a tensor of the session's CUDA stream to the caller's, so that its memory is not reused too early."""
        if self._stream is not None:
            tensor.record_stream(torch.cuda.current_stream(self.device))
        return tensor

    def _coverage(self, params: HeadParams, camera: Camera) -> Tensor:
        """Coverage (B, 1, H, W), from the difference of renders on black and on white, whatever the portrait is."""
        black = self.portrait.render(params, camera, self._colour("black", len(camera.w2c)), self.rasterizer).clone()
        white = self.portrait.render(params, camera, self._colour("white", len(camera.w2c)), self.rasterizer)
        return 1 - (white - black).mean(dim=1, keepdim=True)

    def _colour(self, background: str | Sequence[float] | Tensor, count: int) -> Tensor:
        if isinstance(background, str):
            if background not in BACKGROUNDS:
                raise BenchError(f"background {background!r}: expected {', '.join(BACKGROUNDS)} or three numbers.")
            if background not in self._colours:
                self._colours[background] = torch.tensor(BACKGROUNDS[background], device=self.device)
            background = self._colours[background]
        colour = torch.as_tensor(background, dtype=torch.float32, device=self.device)
        if colour.shape not in ((3,), (count, 3)):
            raise BenchError(f"background: expected 3 numbers, or {count} x 3, found shape {tuple(colour.shape)}.")
        return colour.expand(count, 3)

    @contextmanager
    def _working(self, head: str) -> Iterator[None]:
        """Let one thread at a time work on the session's CUDA stream, whatever stream the caller works on.

        Args:
            head: tag of the head model that the caller's parameters are of.

        Raises:
            BenchError: the session is closed, or it is of another head model.
        """
        if head != self.loaded.identity.head:
            raise BenchError(
                f"the parameters are of head model {head}, the checkpoint is of {self.loaded.identity.head}: "
                "coefficients of one do not drive the other."
            )
        with self._turn:
            if not self._open:
                raise BenchError("the session is closed.", help="open the checkpoint again")
            if self._stream is None:
                yield
                return
            outside = torch.cuda.current_stream(self.device)
            self._stream.wait_stream(outside)
            with torch.cuda.stream(self._stream):
                yield
            outside.wait_stream(self._stream)
