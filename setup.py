"""Packaging: the top-level folders `zoo_configs/` and `export/` ship inside the `ganzoo` package."""

from setuptools import find_packages, setup

packages = find_packages(include=["ganzoo", "ganzoo.*"])
exports = ["ganzoo.export"] + [f"ganzoo.export.{name}" for name in find_packages("export")]

setup(
    packages=packages + exports + ["ganzoo.zoo_configs"],
    package_dir={"ganzoo": "ganzoo", "ganzoo.export": "export", "ganzoo.zoo_configs": "zoo_configs"},
    include_package_data=False,  # exactly what is named below, whatever the source distribution holds
    package_data={
        "ganzoo.reports": ["*.html"],
        "ganzoo.export": ["*.yaml", "web/*"],
        "ganzoo.zoo_configs": ["**/*.yaml", "**/*.safetensors", "_weights/LICENCES.md", "_data/*.xz"],
    },
)
