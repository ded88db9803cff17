"""The sections of a recipe: generator, patches, losses, optimizers; discriminators are in `discriminator_schema`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializeAsAny,
    ValidationError,
    ValidationInfo,
    WrapValidator,
    create_model,
    model_validator,
)

from fluidsr.choices import Augmentation, FeatureForm
from fluidsr.errors import InputError
from fluidsr.extensions import Registry
from fluidsr.models.generator import ArchitectureOptions, Generator, GridOptions
from fluidsr.models.multipass import MultiPass, MultiPassArchitecture
from fluidsr.models.registry import DISCRIMINATORS, GENERATORS
from fluidsr.models.smoke import SmokeArchitecture, SmokeGenerator
from fluidsr.models.tempogan import TempoGAN, TempoGANArchitecture
from fluidsr.models.unet import UNet, UNetArchitecture
from fluidsr.scenes.error_messages import Problem, Problems, explain
from fluidsr.training.loggers import LOGGERS
from fluidsr.training.loss import LOSSES, Loss
from fluidsr.training.regularization import PathLengthPenalty
from fluidsr.training.sections import Count, Positive, Section, Share, Signed, Weight

T = TypeVar("T")
Model = TypeVar("Model", bound=BaseModel)
IMPORTS = {"imports": True}  # the validation context in which `module:Class` is imported


def _class_of(registry: Registry[T], reference: str, info: ValidationInfo) -> type[T]:
    """The class that a recipe names. Only a recipe that is being loaded imports `module:Class`; one that is compared
    with it, from a checkpoint, names what is known by then or is refused. Raises ValueError, as validators do."""
    try:
        if info.context and info.context.get("imports"):
            return registry.resolve(reference)
        kind = registry.find(reference)
    except InputError as error:
        raise ValueError(f"{error.where} {error.what}; {error.remedy}") from error
    if kind is None:
        raise ValueError(f"'{reference}' is not known here; load it by `load_recipe`, or register the class")
    return kind


def _validated(model: type[Model], value: Any, *path: str) -> Model:
    """An instance of another package's model; errors name its own keys, under `path`."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        problems = explain(error.errors(include_url=False), model.model_json_schema(), value)
        raise Problems([Problem((*path, *p.path), p.what, p.remedy) for p in problems]) from error


class _Network(ArchitectureOptions):
    """A recipe's generator: the options of its architecture, by the architecture's name."""

    model_config = ConfigDict(strict=False)

    kind: ClassVar[str]
    architecture: str

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """The arguments of `fluidsr.models.build` besides architecture, dim and factor."""
        return self.model_dump(exclude={"architecture"})


class SmokeNetwork(SmokeArchitecture, _Network):
    """The laptop generator (docs/adr/0005-generator.md)."""

    model_config = ConfigDict(strict=False)

    kind: ClassVar[str] = SmokeGenerator.architecture
    architecture: Literal["smoke"] = Field(default="smoke", description="Which network; `smoke` if left out")


class TempoGANNetwork(TempoGANArchitecture, _Network):
    """The published generator (Xie et al. 2018, appendix A), weight for weight."""

    model_config = ConfigDict(strict=False)

    kind: ClassVar[str] = TempoGAN.architecture
    architecture: Literal["tempogan"] = Field(description="Which network")


class UNetNetwork(UNetArchitecture, _Network):
    """A U-net, the alternative network of the thesis."""

    model_config = ConfigDict(strict=False)

    kind: ClassVar[str] = UNet.architecture
    architecture: Literal["unet"] = Field(description="Which network")


class MultiPassNetwork(MultiPassArchitecture, _Network):
    """The multi-pass generator on slices (Werhahn et al. 2019); 3-D only."""

    model_config = ConfigDict(strict=False)

    kind: ClassVar[str] = MultiPass.architecture
    architecture: Literal["multipass"] = Field(description="Which network")


# What recipes call the architectures that cards name.
NETWORKS = {
    SmokeGenerator.architecture: "smoke",
    TempoGAN.architecture: "tempogan",
    UNet.architecture: "unet",
    MultiPass.architecture: "multipass",
}
_BUILT_IN = tuple(NETWORKS.values())
_BuiltIn = Annotated[
    SmokeNetwork | TempoGANNetwork | UNetNetwork | MultiPassNetwork, Field(discriminator="architecture")
]


def _network_schema(kind: type[Generator], reference: str) -> type[_Network]:
    """The section of a recipe for another package's generator: its options without the grids."""
    fields: dict[str, Any] = {
        name: (field.annotation, field)
        for name, field in kind.schema.model_fields.items()
        if name not in GridOptions.model_fields
    }
    fields["architecture"] = (Literal[reference], Field(description="Which network"))
    schema = create_model(f"{kind.__name__}Network", __base__=_Network, **fields)
    schema.kind = kind.architecture
    return schema


def _network(value: Any, builtin: Callable[[Any], Any], info: ValidationInfo) -> Any:
    reference = value.get("architecture") if isinstance(value, dict) else None
    if not isinstance(reference, str) or reference in (*_BUILT_IN, *GENERATORS.builtin):
        return builtin(value)
    if ":" not in reference and reference not in GENERATORS.names():
        return builtin(value)  # which names the choices
    return _validated(_network_schema(_class_of(GENERATORS, reference, info), reference), value)


Network = Annotated[SerializeAsAny[_BuiltIn], WrapValidator(_network)]


def _names(registry: Registry[Any]) -> AfterValidator:
    def check(reference: str, info: ValidationInfo) -> str:
        _class_of(registry, reference, info)
        return reference

    return AfterValidator(check)


LoggerName = Annotated[str, Field(max_length=200), _names(LOGGERS)]
DiscriminatorName = Annotated[str, Field(max_length=200), _names(DISCRIMINATORS)]


def _augmentation(value: Any) -> Any:
    return {True: "symmetries", False: "none"}.get(value, value) if isinstance(value, bool) else value


class ReachedFrames(Section):
    """Samples from longer coarse runs: a corrected coarse run starts from a recorded fine state, as in `simulate`."""

    closure: str = Field(
        default="auto",
        min_length=1,
        description="Corrector of the runs: a name, a file, `none`, or `auto`, the shipped one for the dimension and "
        "factor",
    )
    longest: int = Field(default=10, ge=2, le=64, description="Maximum length of a run, in frames")
    share: Share = Field(default=0.3, description="Share of the samples that come from such runs")


class Patches(Section):
    """The samples of an update: `batch` patches, each a cube of `tile` coarse cells over `frames` consecutive
    frames."""

    tile: int = Field(default=16, ge=4, le=512, description="Edge of a patch, in coarse cells")
    batch: int = Field(default=2, ge=1, le=1024, description="Samples in a batch, per process")
    frames: Literal[1, 3, 5, 9, 10] = Field(
        default=3,
        description="Consecutive frames of each sample. Of more than three, Dt and `l2_t` use the three in the middle",
    )
    triplets: Count = Field(
        default=0,
        description="With `frames: 1`: number of additional samples of three frames, for the losses over time",
    )
    accumulate: int = Field(
        default=1, ge=1, le=1024, description="Batches whose gradients are averaged into one update"
    )
    pairs: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="Train on only this many frames, evenly spaced, each with its neighbors if samples have three "
        "frames. Of a single simulation, the last third is then held out. null: train on all",
    )
    minimum_density: Weight = Field(
        default=0.01, description="Patches with a smaller mean coarse density are not drawn"
    )
    filtered: Share = Field(
        default=0.0,
        description="Share of the samples whose coarse side is the filtered fine state instead of the recorded "
        "coarse run; needs a dataset made with `--pairs closure`",
    )
    reached: ReachedFrames | None = Field(
        default=None,
        description="Samples whose coarse side comes from longer coarse runs; needs a dataset made with `--pairs "
        "closure`; null: none",
    )
    density_scale: Annotated[tuple[Positive, Positive], Field(strict=False)] = Field(
        default=(1.0, 1.0),
        description="Range of the factor on the density of each sample, drawn uniformly on a logarithmic scale. A "
        "generator that has only seen dense smoke draws mottles into thin smoke",
    )
    augment: Annotated[Augmentation, BeforeValidator(_augmentation)] = Field(
        default="symmetries",
        description="`symmetries`: rotate every patch by right angles and mirror it, exactly; `affine`: rotate it by "
        "any angle and scale it by 0.85 to 1.15, by resampling; `none`. (true is symmetries, false is none.)",
    )


class ExtraLoss(Section):
    """A loss from another package."""

    loss: str = Field(max_length=200, description="Registered name of the loss, or `module:Class`")
    weight: Positive = Field(default=1.0, description="Weight of the loss")
    options: dict[str, Any] = Field(default={}, description="Options of the loss, the fields of its class")
    _term: Loss

    @property
    def term(self) -> Loss:
        """The loss itself, with its options."""
        return self._term

    @model_validator(mode="after")
    def _build(self, info: ValidationInfo) -> ExtraLoss:
        self._term = _validated(_class_of(LOSSES, self.loss, info), self.options, "options")
        return self


# The losses that compare the generator's frames with the reference, without a discriminator.
WITHOUT_DISCRIMINATOR = ("absolute", "gradient", "distribution", "energy_score", "temporal", "l2_t")


class Losses(Section):
    """Weights of the generator's losses (`fluidsr.models.losses`). A loss with weight 0 is not computed."""

    absolute: Weight = Field(default=1.0, description="Mean absolute difference from the reference (L1)")
    gradient: Weight = Field(default=0.0, description="Mean absolute difference of the spatial gradients")
    distribution: Weight = Field(
        default=0.0,
        description="Distance of the distributions of spatial differences (Wasserstein, by halves of a patch and over "
        "1, 2 and 4 voxels): edges as steep as in the reference where the coarse frame leaves their position open. "
        "Needs patches of 10 fine voxels or more",
    )
    air: Weight = Field(
        default=0.0,
        description="Mean smoke where the reference is air. Needed only beside losses that permit faint veils there",
    )
    temporal: Weight = Field(
        default=0.0,
        description="Change of the error along the flow. An error that travels with the smoke costs nothing",
    )
    l2_t: Weight = Field(
        default=0.0,
        description="Squared change of the output along the flow (L2,t of the thesis, equation 3.4)",
    )
    mask: Weight = Field(
        default=0.0,
        description="Mean of the generator's mask where detail may appear; published (Vondrick et al. 2016): 0.1; "
        "needs `generator.mask`",
    )
    ping_pong: Weight = Field(
        default=0.0,
        description="Difference between frames made forward and backward in time, which prevents detail from piling "
        "up (TecoGAN; published: 0.5). Doubles the generator's passes; needs `generator.previous`",
    )
    diversity: Weight = Field(
        default=0.0,
        description="Similarity, 0 to 1, of the smoke that two codes of `generator.latent` give. Without this loss "
        "or `energy_score` the generator ignores the code",
    )
    energy_score: Weight = Field(
        default=0.0,
        description="Energy score of the smoke that two codes of `generator.latent` give: smallest if smoke varies "
        "with the code as references with the same coarse frame do",
    )
    path_length: PathLengthPenalty | None = Field(
        default=None,
        description="Path length regularization: smoke is to change evenly with the content of `generator.latent`. "
        "null: none",
    )
    spatial: Weight = Field(default=0.0, description="Adversarial loss from the spatial discriminator Ds")
    slices: Weight = Field(default=0.0, description="Adversarial loss from the discriminator on slices")
    temporal_adversarial: Weight = Field(
        default=0.0, description="Adversarial loss from the temporal discriminator Dt"
    )
    features: tuple[Signed, Signed, Signed, Signed] = Field(
        default=(0.0, 0.0, 0.0, 0.0),
        description="Difference between the activations of Ds for real and generated frames, per layer (equation "
        "3.7). May be negative",
    )
    feature_form: FeatureForm = Field(
        default="normalised",
        description="`normalised`: mean over elements; `published`: half the sum, which grows with tile and batch",
    )
    anchor: Weight = Field(
        default=0.0,
        description="Mean squared distance of the weights from those of `init`, which prevents forgetting",
    )
    reverse: Weight = Field(
        default=0.0,
        description="RR pretraining: error of inverting the layers of the `smoke` trunk by their transposed weights",
    )
    extra: tuple[ExtraLoss, ...] = Field(
        default=(), description="Losses of other packages: `{loss: NAME, weight: 0.1, options: {...}}`"
    )


class Rate(Section):
    """AdamW (Loshchilov and Hutter 2019; Adam where `weight_decay` is 0) or RMSProp, and its learning rate."""

    kind: Literal["adamw", "rmsprop"] = Field(
        default="adamw",
        description="Which optimizer; `rmsprop` needs `betas: [0, 0.99]` and no `weight_decay`",
    )
    learning_rate: Positive = Field(default=1e-3, description="Learning rate after the warm-up")
    betas: tuple[Share, Share] = Field(
        default=(0.9, 0.99), description="Decay of the two moments; RMSProp uses only the second"
    )
    weight_decay: Weight = Field(default=0.0, description="Weight decay of AdamW")
    warmup_steps: int = Field(
        default=100, ge=0, description="Steps in which the learning rate grows linearly from 0"
    )
    decay: Literal["cosine", "polynomial", "constant"] = Field(
        default="cosine",
        description="`cosine`: falls along half a cosine to the final fraction; `polynomial`: as published, constant "
        "for half of the steps, then decreasing with power 1.1; `constant`: no decay",
    )
    final_fraction: float = Field(
        default=0.01, ge=0, le=1, description="Fraction of the learning rate that remains at the last step"
    )
    clip: Positive = Field(
        default=1.0, description="Maximum norm of the gradient; a longer gradient is scaled down"
    )

    @model_validator(mode="after")
    def _fits_rmsprop(self) -> Rate:
        if self.kind == "rmsprop" and self.betas[0] > 0:
            raise ValueError(
                f"betas {list(self.betas)} have a first moment, and rmsprop has none; use [0, 0.99]"
            )
        if self.kind == "rmsprop" and self.weight_decay > 0:
            raise ValueError("weight_decay is AdamW's, and kind is rmsprop; remove one of them")
        return self


class Optimizer(Rate):
    """The optimizer of what is trained; the model that is kept is an exponential moving average of its weights."""

    average: Share = Field(
        default=0.999, description="Decay of the moving average of the weights; 0: keep the last weights"
    )


class GeneratorOptimizer(Optimizer):
    """The generator's optimizer. The saved model is an exponential moving average of the weights."""

    orthogonal: Weight = Field(
        default=0.0,
        description="Weight of a penalty on similar filters of a layer (BigGAN, equation 3); published: 1e-4",
    )


def default_architecture(data: Any) -> Any:
    """Recipe data in which a generator without `architecture` is a `smoke` one."""
    generator = data.get("generator") if isinstance(data, dict) else None
    if isinstance(generator, dict) and "architecture" not in generator:
        return {**data, "generator": {"architecture": "smoke", **generator}}
    return data
