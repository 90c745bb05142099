"""Self-organizing maps, growing neural gas and prototype layers: learning by nearest neighbours."""

from nnvocab.som.cube_neighbours import CubeNeighbours, coupling_kernel, cube_neighbours, propagate
from nnvocab.som.growing_neural_gas import GrowingNeuralGas, Snapshot
from nnvocab.som.growth_film import GrowthFilm, growth_film
from nnvocab.som.kmeans_layer import KMeansLayer, kmeans_plus_plus
from nnvocab.som.kmeans_output import kmeans_output
from nnvocab.som.lattice import adjacent, lattice_distance, lattice_positions, lattice_shape, neighbour_pairs
from nnvocab.som.map_quality import best_units, quantization_error, topographic_error, u_matrix
from nnvocab.som.nearest import nearest_units
from nnvocab.som.prototype_uses import PrototypeReading, read_prototypes
from nnvocab.som.recursive_kmeans import RecursiveKMeans
from nnvocab.som.schedule import decay, gaussian_spread, neighbourhood
from nnvocab.som.self_organizing_map import SOM, som_batch_step, som_batch_step_fused, som_step
from nnvocab.som.soft_assignment import centre_distance, soft_assignment, soft_assignment_fused
from nnvocab.som.stacked_map import Activation, Stacked3DSOM

__all__ = [
    "SOM",
    "Activation",
    "CubeNeighbours",
    "GrowingNeuralGas",
    "GrowthFilm",
    "KMeansLayer",
    "PrototypeReading",
    "RecursiveKMeans",
    "Snapshot",
    "Stacked3DSOM",
    "adjacent",
    "best_units",
    "centre_distance",
    "coupling_kernel",
    "cube_neighbours",
    "decay",
    "gaussian_spread",
    "growth_film",
    "kmeans_output",
    "kmeans_plus_plus",
    "lattice_distance",
    "lattice_positions",
    "lattice_shape",
    "nearest_units",
    "neighbour_pairs",
    "neighbourhood",
    "propagate",
    "quantization_error",
    "read_prototypes",
    "soft_assignment",
    "soft_assignment_fused",
    "som_batch_step",
    "som_batch_step_fused",
    "som_step",
    "topographic_error",
    "u_matrix",
]
