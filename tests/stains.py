"""Slides in published stains: optical densities painted onto a shape by Beer and Lambert's law.

The vectors are the optical densities of red, green and blue that the literature and programs list as facts: Ruifrok and
Johnston, "Quantification of histochemical staining by color deconvolution", Anal. Quant. Cytol. Histol. 23 (2001), and
G. Landini's Colour Deconvolution for ImageJ, which scikit-image lists too.
"""

import numpy as np

STAINS = {
    "haematoxylin": (0.650, 0.704, 0.286),
    "haematoxylin of H&E": (0.644211, 0.716556, 0.266844),
    "eosin": (0.092789, 0.954111, 0.283111),
    "eosin of H&E 2": (0.04615336, 0.8420684, 0.5373925),
    "DAB": (0.268, 0.570, 0.776),
    "AEC": (0.2743, 0.6796, 0.6803),
    "Feulgen": (0.46420921, 0.83008335, 0.30827187),
    "light green": (0.94705542, 0.25373821, 0.19650764),
    "methyl green": (0.98003, 0.144316, 0.133146),
    "methylene blue of Giemsa": (0.834750233, 0.513556283, 0.196330403),
    "fast red": (0.21393921, 0.85112669, 0.47794022),
    "fast blue": (0.74890292, 0.60624161, 0.26731082),
    "aniline blue of azan": (0.853033, 0.508733, 0.112656),
    "azocarmine": (0.09289875, 0.8662008, 0.49098468),
    "orange G": (0.10732849, 0.36765403, 0.9237484),
    "methyl blue": (0.7995107, 0.5913521, 0.10528667),
    "ponceau fuchsin": (0.09997159, 0.73738605, 0.6680326),
    "Alcian blue": (0.874622, 0.457711, 0.158256),
    "PAS": (0.175411, 0.972178, 0.154589),
    "NBT/BCIP": (0.62302786, 0.697869, 0.3532918),
    "new fuchsin": (0.0777851125, 0.804293475, 0.5886050475),
    "HRP green": (0.8098939567, 0.4488181033, 0.3714423567),
}
MIXTURES = {
    "Masson's trichrome": ("methyl blue", "ponceau fuchsin"),
    "azan": ("aniline blue of azan", "azocarmine", "orange G"),
    "Feulgen and light green": ("Feulgen", "light green"),
    "methyl green and DAB": ("methyl green", "DAB"),
    "Alcian blue and PAS": ("Alcian blue", "PAS"),
    "Giemsa": ("methylene blue of Giemsa", "eosin"),
}
"""Stains that lie side by side on one slide."""


def transmitted(amounts, glass=(243, 242, 244)):
    """Return the picture of stains on glass, ``uint8 (height, width, 3)``.

    Parameters
    ----------
    amounts
        From a stain's name to its optical density at each pixel, ``float (height, width)``.
    glass
        The colour of the glass, RGB.
    """
    density = sum(amount[..., None] * np.array(STAINS[name]) for name, amount in amounts.items())
    return np.round(np.array(glass) * 10.0**-density).astype(np.uint8)
