"""Scores of generated samples; every module says its formula and its paper.

Over any feature arrays: `frechet.frechet_distance`, `kernel.kernel_distance`, `neighbours.precision_recall`,
`neighbours.density_coverage`. Over images, with no network: `sliced_wasserstein.sliced_wasserstein`. Feature networks:
`networks.feature_networks.feature_network`, `networks.features.extract`. All of them side by side:
`scorecard.scorecard` and `scorecard.compare`. Importing this package imports none of them.
"""
