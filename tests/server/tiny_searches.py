"""A bundle whose graphs are of a few nodes each, all of them, so that it is known which latent a search must find.

Its photos are black but for flat squares on cells of ``CELL`` pixels: each bright cell is a face, the brightest of them the largest.
Its Age-cGAN draws flat colours; see ``drawn``. Whatever a mode of search makes small, and where that is smallest, follows in closed form.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize

from dorian_bundle import Bundle, load_bundle, write_manifest
from dorian_bundle.age_interval import AgeIntervals
from dorian_bundle.ages import PAPER_GROUPS, age_condition
from dorian_bundle.alignment import DEFAULT_TEMPLATE
from dorian_bundle.entries import DataSet, Provenance
from dorian_bundle.face_readers import (
    AcceptThreshold,
    AgeEstimator,
    FaceDetector,
    FaceNet,
    FaceReaders,
    LandmarkRefiner,
    age_estimator_signature,
    detector_signature,
    facenet_signature,
    landmark_refiner_signature,
)
from dorian_bundle.families import Method
from dorian_bundle.families.age_cgan import AgeCganMethod, age_cgan_signatures, latent_gradient_signature
from dorian_bundle.graphs import Graph
from dorian_bundle.manifest import Manifest
from dorian_bundle.similarity_by_years import SimilarityByYears
from dorian_server.domain.requests import Objective
from dorian_server.pipeline.latent_search import WEIGHTS
from tests.server.tiny_methods import write_filters, write_graph, write_translator

Pixels = NDArray[np.uint8]
Doubles = NDArray[np.float64]
Colour = tuple[int, int, int]

CELL = SIZE = 32  # of a face, and of its crop
FACENET_SIZE = 64
LATENT, EMBEDDING = 4, 2
LEVELS = np.array([-0.1, -0.06, -0.02, 0.02, 0.06, 0.1])  # of green that each age group adds
YEARS_PER_BLUE = 100.0  # as the age estimator reads them
_TURN = 2.0  # of the embedding, in radians for a whole red
_MARGIN = 2  # pixels about a face that are as bright, so that crops have no edge
SIMILARITY_BY_YEARS = SimilarityByYears(years=(2, 10, 40), similarity=(0.99, 0.9, -0.9), spread=0.1, source="a test")
_INTERVALS = AgeIntervals(
    coverage=0.8, ages=(0.0, 100.0), lower=(-1.0, -1.0), upper=(1.0, 1.0), min_spread=1.0, faces=100
)
_PROVENANCE = Provenance(
    licence="CC0-1.0",
    commercial_use=True,
    data=(DataSet(name="none", faces=1, licence="CC0-1.0", commercial_use=True),),
    seed=0,
    steps={"all": 0},
)

# Made with onnx.helper.
# of cells of 32 pixels: score = mean of the cell, and a box of the cell with the template's landmarks; of smaller ones all 0
_DETECTOR = base64.b64decode(
    "CAgSADq7DwpBCgVpbWFnZRICYTgiC0F2ZXJhZ2VQb29sKhUKDGtlcm5lbF9zaGFwZUAIQAigAQcqEAoHc3RyaWRlc0AIQAigAQcKLQoCYTgKAkswCgJi"
    "MBICYzgiBENvbnYqFQoMa2VybmVsX3NoYXBlQAFAAaABBwomCgJjOBICdDgiCVRyYW5zcG9zZSoRCgRwZXJtQABAAkADQAGgAQcKGAoCdDgKBXNoYXBl"
    "EgJyOCIHUmVzaGFwZQo8CgJyOAoFc3BsaXQSBWNsc184EgVvYmpfOBIGYmJveF84EgVrcHNfOCIFU3BsaXQqCwoEYXhpcxgCoAECCkIKBWltYWdlEgNh"
    "MTYiC0F2ZXJhZ2VQb29sKhUKDGtlcm5lbF9zaGFwZUAQQBCgAQcqEAoHc3RyaWRlc0AQQBCgAQcKLwoDYTE2CgJLMAoCYjASA2MxNiIEQ29udioVCgxr"
    "ZXJuZWxfc2hhcGVAAUABoAEHCigKA2MxNhIDdDE2IglUcmFuc3Bvc2UqEQoEcGVybUAAQAJAA0ABoAEHChoKA3QxNgoFc2hhcGUSA3IxNiIHUmVzaGFw"
    "ZQpBCgNyMTYKBXNwbGl0EgZjbHNfMTYSBm9ial8xNhIHYmJveF8xNhIGa3BzXzE2IgVTcGxpdCoLCgRheGlzGAKgAQIKQgoFaW1hZ2USA2EzMiILQXZl"
    "cmFnZVBvb2wqFQoMa2VybmVsX3NoYXBlQCBAIKABByoQCgdzdHJpZGVzQCBAIKABBwoxCgNhMzIKA0szMgoDYjMyEgNjMzIiBENvbnYqFQoMa2VybmVs"
    "X3NoYXBlQAFAAaABBwooCgNjMzISA3QzMiIJVHJhbnNwb3NlKhEKBHBlcm1AAEACQANAAaABBwoaCgN0MzIKBXNoYXBlEgNyMzIiB1Jlc2hhcGUKQQoD"
    "cjMyCgVzcGxpdBIGY2xzXzMyEgZvYmpfMzISB2Jib3hfMzISBmtwc18zMiIFU3BsaXQqCwoEYXhpcxgCoAECEgFnKiUIAxAHQgVzaGFwZUoYAAAAAAAA"
    "AAD//////////xAAAAAAAAAAKi0IBBAHQgVzcGxpdEogAQAAAAAAAAABAAAAAAAAAAQAAAAAAAAACgAAAAAAAAAq0QEIEAgDCAEIARABQgJLMErAAQAA"
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    "AAAAAAAAAAAAAAAAAAAAACpKCBAQAUICYjBKQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    "AAAAAAAq0gEIEAgDCAEIARABQgNLMzJKwAGrqqo+q6qqPquqqj6rqqo+q6qqPquqqj4AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAqSwgQEAFCA2IzMkpAAAAAAAAAAAAAAAA/AAAAPwAAAAAAAAAAd76XPiuH"
    "jj7EICw/K4eOPgAA+D7Lof0+aJGlPh+FJz9MNyU/H4UnP1ovCgVpbWFnZRImCiQIARIgCgcSBWJhdGNoCgIIAwoIEgZoZWlnaHQKBxIFd2lkdGhiJwoF"
    "Y2xzXzgSHgocCAESGAoHEgViYXRjaAoJEgdjZWxsc184CgIIAWIpCgZjbHNfMTYSHwodCAESGQoHEgViYXRjaAoKEghjZWxsc18xNgoCCAFiKQoGY2xz"
    "XzMyEh8KHQgBEhkKBxIFYmF0Y2gKChIIY2VsbHNfMzIKAggBYicKBW9ial84Eh4KHAgBEhgKBxIFYmF0Y2gKCRIHY2VsbHNfOAoCCAFiKQoGb2JqXzE2"
    "Eh8KHQgBEhkKBxIFYmF0Y2gKChIIY2VsbHNfMTYKAggBYikKBm9ial8zMhIfCh0IARIZCgcSBWJhdGNoCgoSCGNlbGxzXzMyCgIIAWIoCgZiYm94XzgS"
    "HgocCAESGAoHEgViYXRjaAoJEgdjZWxsc184CgIIBGIqCgdiYm94XzE2Eh8KHQgBEhkKBxIFYmF0Y2gKChIIY2VsbHNfMTYKAggEYioKB2Jib3hfMzIS"
    "HwodCAESGQoHEgViYXRjaAoKEghjZWxsc18zMgoCCARiJwoFa3BzXzgSHgocCAESGAoHEgViYXRjaAoJEgdjZWxsc184CgIICmIpCgZrcHNfMTYSHwod"
    "CAESGQoHEgViYXRjaAoKEghjZWxsc18xNgoCCApiKQoGa3BzXzMyEh8KHQgBEhkKBxIFYmF0Y2gKChIIY2VsbHNfMzIKAggKQgQKABAR"
)
# landmarks = the mean face's, whose five are the template's; visibility = 0.9
_REFINER = base64.b64decode(
    "CAg6jwcKOAoFaW1hZ2USAW0iClJlZHVjZU1lYW4qDwoEYXhlc0ABQAJAA6ABByoPCghrZWVwZGltcxgAoAECCg4KAW0KAXoSAW4iA011bAoXCgFuCg"
    "F2Egp2aXNpYmlsaXR5IgNBZGQKFQoBbgoCaWESAXUiCVVuc3F1ZWV6ZQoWCgF1CgFwEglsYW5kbWFya3MiA0FkZBIBZyoLEAFCAXpKBAAAAAAqCxAB"
    "QgF2SgRmZmY/KtYECAEISQgCEAFCAXBKyAQAAAA/KH4MPW+BND+srVg948dYP1yPAj7UK2U/iUGAPt0kZj9pb9A+YVRiPyo6Ej/hC1M/Gy89P3E9Oj"
    "+U9lY/7loiPwskaD8AAAA/BcVvPyNKuz4LJGg/H4WLPpT2Vj990DM+Gy89P/tc7T0qOhI/F9nOPWlv0D5iodY9iUGAPnbgHD5cjwI+Iv2WPqytWD1q"
    "vHQ+eJyiPibkgz524Jw+JLmcPn0/lT4jSrs+f/uaPhWMyj55WKg+EhS/PnE9qj4ldaI+exSuPjC7hz5xPao+5dBCP3icoj7tDT4/duCcPm6jMT99P5"
    "U+7loiP3/7mj71uRo/eVioPvd1ID9xPao+bcUuP3sUrj5oIjw/cT2qPmgiLD4yd20+YVRSPhfZTj451oU+SntDPh4Wqj45RUc+BhLUPjy9Uj5m91Q/"
    "MndtPuhqSz8X2U4+5BQ9P0p7Qz7x9Co/OUVHPv32FT88vVI+16OwPrKdLz8lBsE+HhYqPwIr5z4mUyU/AAAAPx04Jz9/agw/JlMlP+58Hz8eFio/FK"
    "4nP7KdLz/ufB8/GlE6P39qDD+Y3UM/AAAAP4/CRT8CK+c+mN1DPyUGwT4aUTo/Io61PiDSLz8Hztk+m+YtPwAAAD+k3y4//BgTP5vmLT/vOCU/INIv"
    "P/wYEz8ijjU/AAAAP5VlOD8Hztk+Io41PwAAAD+HFpk+AAAAP4XrsT4AAAA/YhDYPgAAAD8xCAw/HqfIPilcDz9xrBs/KVwPPwAAAD8hHxQ/wcqhPl"
    "K4nj6gGi8/UriePioaCAIQB0ICaWFKEAEAAAAAAAAAAgAAAAAAAABaJAoFaW1hZ2USGwoZCAESFQoHEgViYXRjaAoCCAMKAgggCgIIIGIkCglsYW5k"
    "bWFya3MSFwoVCAESEQoHEgViYXRjaAoCCEkKAggCYh0KCnZpc2liaWxpdHkSDwoNCAESCQoHEgViYXRjaEIECgAQEQ=="
)
# age = 100 mean blue; spread = 4
_AGE_ESTIMATOR = base64.b64decode(
    "CAg6gQIKNgoFaW1hZ2USAW0iClJlZHVjZU1lYW4qDQoEYXhlc0ACQAOgAQcqDwoIa2VlcGRpbXMYAKABAgoTCgFtCgF3EgNhZ2UiBk1hdE11bAoQCg"
    "NhZ2UKAXoSAW4iA011bAoTCgFuCgFzEgZzcHJlYWQiA0FkZBIBZyoVCAMQAUIBd0oMAAAAAAAAAAAAAMhCKgsQAUIBekoEAAAAACoLEAFCAXNKBAAA"
    "gEBaJAoFaW1hZ2USGwoZCAESFQoHEgViYXRjaAoCCAMKAgggCgIIIGIWCgNhZ2USDwoNCAESCQoHEgViYXRjaGIZCgZzcHJlYWQSDwoNCAESCQoHEg"
    "ViYXRjaEIECgAQEQ=="
)
# embedding = cos, sin of 2 mean red
_FACENET = base64.b64decode(
    "CAgSADrxAQo2CgVpbWFnZRIBbSIKUmVkdWNlTWVhbioNCgRheGVzQAJAA6ABByoPCghrZWVwZGltcxgAoAECChEKAW0KAVcSAXQiBk1hdE11bAoLCg"
    "F0EgFjIgNDb3MKCwoBdBIBcyIDU2luCiYKAWMKAXMSCWVtYmVkZGluZyIGQ29uY2F0KgsKBGF4aXMYAaABAhIBZyoXCAMIARABQgFXSgwAAABAAAAA"
    "AAAAAABaJAoFaW1hZ2USGwoZCAESFQoHEgViYXRjaAoCCAMKAghACgIIQGIgCgllbWJlZGRpbmcSEwoRCAESDQoHEgViYXRjaAoCCAJCBAoAEBE="
)
# latent = 2 mean red - 1, 2 mean green - 1, 2 mean blue - 1, -0.5
_ENCODER = base64.b64decode(
    "CAgSADqAAgo2CgVpbWFnZRIBbSIKUmVkdWNlTWVhbioNCgRheGVzQAJAA6ABByoPCghrZWVwZGltcxgAoAECChEKAW0KAVcSAXAiBk1hdE11bAoTCg"
    "FwCgFCEgZsYXRlbnQiA0FkZBIBZyo7CAMIBBABQgFXSjAAAABAAAAAAAAAAAAAAAAAAAAAAAAAAEAAAAAAAAAAAAAAAAAAAAAAAAAAQAAAAAAqGQgE"
    "EAFCAUJKEAAAgL8AAIC/AACAvwAAAL9aJAoFaW1hZ2USGwoZCAESFQoHEgViYXRjaAoCCAMKAgggCgIIIGIdCgZsYXRlbnQSEwoRCAESDQoHEgViYX"
    "RjaAoCCARCBAoAEBE="
)
# image = 0.5 + latent[:3] / 4 all over, and (1 + latent[3]) LEVELS · condition of green beside
_GENERATOR = base64.b64decode(
    "CAgSADrdBAoYCgZsYXRlbnQKAld6EgJjMSIGTWF0TXVsChcKBmxhdGVudAoBZRICejMiBk1hdE11bAoVCgJ6MwoDb25lEgVzaG93biIDQWRkCh4KCW"
    "NvbmRpdGlvbgoGbGV2ZWxzEgFsIgZNYXRNdWwKFQoBbAoFc2hvd24SBGFnZWQiA011bAoVCgRhZ2VkCgFnEgJjMiIGTWF0TXVsChEKAmMxCgJjMhIC"
    "YzMiA0FkZAoSCgJjMwoEaGFsZhIBYyIDQWRkChQKAWMKAUESAXUiCVVuc3F1ZWV6ZQoVCgF1CgFFEgVpbWFnZSIGRXhwYW5kEgFnKjwIBAgDEAFCAl"
    "d6SjAAAIA+AAAAAAAAAAAAAAAAAACAPgAAAAAAAAAAAAAAAAAAgD4AAAAAAAAAAAAAAAAqGwgECAEQAUIBZUoQAAAAAAAAAAAAAAAAAACAPyoPCAEQ"
    "AUIDb25lSgQAAIA/KigIBggBEAFCBmxldmVsc0oYzczMvY/Cdb0K16O8CtejPI/CdT3NzMw9KhcIAQgDEAFCAWdKDAAAAAAAAIA/AAAAACoQCAEQAU"
    "IEaGFsZkoEAAAAPyoZCAIQB0IBQUoQAgAAAAAAAAADAAAAAAAAACopCAQQB0IBRUogAQAAAAAAAAABAAAAAAAAACAAAAAAAAAAIAAAAAAAAABaHQoG"
    "bGF0ZW50EhMKEQgBEg0KBxIFYmF0Y2gKAggEWiAKCWNvbmRpdGlvbhITChEIARINCgcSBWJhdGNoCgIIBmIkCgVpbWFnZRIbChkIARIVCgcSBWJhdG"
    "NoCgIIAwoCCCAKAgggQgQKABAR"
)
# terms = mean (image - drawn)², |embedding - drawn's|², mean latent²; loss = weights · terms; gradient = its, by hand
_LATENT_GRADIENT = base64.b64decode(
    "CAgSADqiDwoYCgZsYXRlbnQKAld6EgJjMSIGTWF0TXVsChcKBmxhdGVudAoBZRICejMiBk1hdE11bAoVCgJ6MwoDb25lEgVzaG93biIDQWRkCh4KCW"
    "NvbmRpdGlvbgoGbGV2ZWxzEgFsIgZNYXRNdWwKFQoBbAoFc2hvd24SBGFnZWQiA011bAoVCgRhZ2VkCgFnEgJjMiIGTWF0TXVsChEKAmMxCgJjMhIC"
    "YzMiA0FkZAoSCgJjMwoEaGFsZhIBYyIDQWRkChQKAWMKAUESAXUiCVVuc3F1ZWV6ZQoSCgF1CgVpbWFnZRIBZCIDU3ViCg8KAWQKAWQSAmQyIgNNdW"
    "wKOwoCZDISCXBpeGVsd2lzZSIKUmVkdWNlTWVhbioNCgRheGVzQAJAA6ABByoPCghrZWVwZGltcxgAoAECCjkKCXBpeGVsd2lzZRICdDAiClJlZHVj"
    "ZU1lYW4qCwoEYXhlc0ABoAEHKg8KCGtlZXBkaW1zGAGgAQIKMwoBZBICY20iClJlZHVjZU1lYW4qDQoEYXhlc0ACQAOgAQcqDwoIa2VlcGRpbXMYAK"
    "ABAgoRCgFjCgFXEgF0IgZNYXRNdWwKDAoBdBICY28iA0NvcwoMCgF0EgJzaSIDU2luCg0KAnNpEgJucyIDTmVnCiEKAmNvCgJzaRICZnIiBkNvbmNh"
    "dCoLCgRheGlzGAGgAQIKIgoCbnMKAmNvEgNmcmQiBkNvbmNhdCoLCgRheGlzGAGgAQIKGAoCZnIKCWVtYmVkZGluZxICZmQiA1N1Ygo3CgJmZBICdD"
    "EiD1JlZHVjZVN1bVNxdWFyZSoLCgRheGVzQAGgAQcqDwoIa2VlcGRpbXMYAaABAgoTCgJmZAoDZnJkEgNmZGQiA011bAoxCgNmZGQKAmF4EgpoYWxm"
    "X3Nsb3BlIglSZWR1Y2VTdW0qDwoIa2VlcGRpbXMYAaABAgoZCgZsYXRlbnQKBmxhdGVudBICejIiA011bAoyCgJ6MhICdDIiClJlZHVjZU1lYW4qCw"
    "oEYXhlc0ABoAEHKg8KCGtlZXBkaW1zGAGgAQIKKAoCdDAKAnQxCgJ0MhIFdGVybXMiBkNvbmNhdCoLCgRheGlzGAGgAQIKHgoFdGVybXMKB3dlaWdo"
    "dHMSB3dlaWdoZWQiA011bAovCgd3ZWlnaGVkCgJheBIEbG9zcyIJUmVkdWNlU3VtKg8KCGtlZXBkaW1zGACgAQIKKQoHd2VpZ2h0cxICdzASAncxEg"
    "J3MiIFU3BsaXQqCwoEYXhpcxgBoAECChoKAmNtCgp0d29fdGhpcmRzEgNjbTIiA011bAoSCgNjbTIKAncwEgJnMCIDTXVsChkKCmhhbGZfc2xvcGUK"
    "AncxEgJocyIDTXVsChQKAmhzCgJXdBICZzEiBk1hdE11bAoRCgJnMAoCZzESAmRjIgNBZGQKFgoCZGMKA1d6dBIDZHowIgZNYXRNdWwKFAoCZGMKAm"
    "d0EgJkZyIGTWF0TXVsChEKAmRnCgFsEgNkZ2wiA011bAoWCgNkZ2wKAmV0EgNkejEiBk1hdE11bAoWCgZsYXRlbnQKAncyEgNkejIiA011bAoWCgNk"
    "ejIKBXByaW9yEgNkejMiA011bAoeCgNkejAKA2R6MQoDZHozEghncmFkaWVudCIDU3VtEgFnKjwIBAgDEAFCAld6SjAAAIA+AAAAAAAAAAAAAAAAAA"
    "CAPgAAAAAAAAAAAAAAAAAAgD4AAAAAAAAAAAAAAAAqGwgECAEQAUIBZUoQAAAAAAAAAAAAAAAAAACAPyoPCAEQAUIDb25lSgQAAIA/KigIBggBEAFC"
    "BmxldmVsc0oYzczMvY/Cdb0K16O8CtejPI/CdT3NzMw9KhcIAQgDEAFCAWdKDAAAAAAAAIA/AAAAACoQCAEQAUIEaGFsZkoEAAAAPyoZCAIQB0IBQU"
    "oQAgAAAAAAAAADAAAAAAAAACoXCAMIARABQgFXSgwAAABAAAAAAAAAAAAqEggBEAdCAmF4SggBAAAAAAAAACoWCAEQAUIKdHdvX3RoaXJkc0oEq6oq"
    "PyoYCAEIAxABQgJXdEoMAACAQAAAAAAAAAAAKj0IAwgEEAFCA1d6dEowAACAPgAAAAAAAAAAAAAAAAAAAAAAAIA+AAAAAAAAAAAAAAAAAAAAAAAAgD"
    "4AAAAAKhgIAwgBEAFCAmd0SgwAAAAAAACAPwAAAAAqHAgBCAQQAUICZXRKEAAAAAAAAAAAAAAAAAAAgD8qEQgBEAFCBXByaW9ySgQAAAA/Wh0KBmxh"
    "dGVudBITChEIARINCgcSBWJhdGNoCgIIBFogCgljb25kaXRpb24SEwoRCAESDQoHEgViYXRjaAoCCAZaJAoFaW1hZ2USGwoZCAESFQoHEgViYXRjaA"
    "oCCAMKAgggCgIIIFogCgllbWJlZGRpbmcSEwoRCAESDQoHEgViYXRjaAoCCAJaHgoHd2VpZ2h0cxITChEIARINCgcSBWJhdGNoCgIIA2IXCgRsb3Nz"
    "Eg8KDQgBEgkKBxIFYmF0Y2hiHwoIZ3JhZGllbnQSEwoRCAESDQoHEgViYXRjaAoCCARiHAoFdGVybXMSEwoRCAESDQoHEgViYXRjaAoCCANCBAoAEB"
    "E="
)


def write_search_bundle(folder: Path, *names: str) -> Bundle:
    """The bundle in ``folder``, with the methods of ``names`` in their order.

    They are ``age_translator`` and ``cyclegan`` (see ``tiny_methods``), ``encoding``, an Age-cGAN that cannot be searched, and ``searching``, the same
    with its gradient.
    """
    (folder / "graphs").mkdir(parents=True)
    sizes = (SIZE, LATENT, len(PAPER_GROUPS))
    signatures = age_cgan_signatures(*sizes)
    graphs = {
        "detector": write_graph(folder, "detector", _DETECTOR, detector_signature()),
        "refiner": write_graph(folder, "refiner", _REFINER, landmark_refiner_signature(SIZE)),
        "age": write_graph(folder, "age", _AGE_ESTIMATOR, age_estimator_signature(SIZE)),
        "facenet": write_graph(folder, "facenet", _FACENET, facenet_signature(FACENET_SIZE, EMBEDDING)),
        "encoder": write_graph(folder, "encoder", _ENCODER, signatures["encoder"]),
        "generator": write_graph(folder, "generator", _GENERATOR, signatures["generator"]),
        "gradient": write_graph(folder, "gradient", _LATENT_GRADIENT, latent_gradient_signature(*sizes, EMBEDDING)),
    }
    translator, more = write_translator(folder, _PROVENANCE)
    filters, filter_graphs = write_filters(folder, _PROVENANCE)
    methods: dict[str, Method] = {
        "age_translator": translator,
        "cyclegan": filters,
        "encoding": _age_cgan("encoding", {}, None),
        "searching": _age_cgan("searching", {"latent_gradient": "gradient"}, EMBEDDING),
    }
    (folder / "README.md").write_text("Of no use but to tests.\n", encoding="utf-8")
    selected = tuple(methods[name] for name in names)
    write_manifest(folder, _manifest(graphs | more | filter_graphs, selected))
    return load_bundle(folder)


def _age_cgan(name: str, more: dict[str, str], embedding: int | None) -> AgeCganMethod:
    return AgeCganMethod(
        name=name,
        description="Flat colours.",
        graphs={"encoder": "encoder", "generator": "generator"} | more,
        age_groups=PAPER_GROUPS,
        crop_size=SIZE,
        latent_size=LATENT,
        embedding_size=embedding,
        provenance=_PROVENANCE,
    )


def _manifest(graphs: dict[str, Graph], methods: tuple[Method, ...]) -> Manifest:
    readers = FaceReaders(
        detector=FaceDetector(graph="detector", min_score=0.2, provenance=_PROVENANCE),
        landmark_refiner=LandmarkRefiner(graph="refiner", view_size=SIZE, zoom=1.0, provenance=_PROVENANCE),
        age_estimator=AgeEstimator(graph="age", crop_size=SIZE, intervals=_INTERVALS, provenance=_PROVENANCE),
        facenet=FaceNet(
            graph="facenet",
            crop_size=FACENET_SIZE,
            embedding_size=EMBEDDING,
            thresholds=(AcceptThreshold(false_accept_rate=1e-3, similarity=0.9),),
            similarity_by_years=SIMILARITY_BY_YEARS,
            provenance=_PROVENANCE,
        ),
    )
    return Manifest(
        name="tiny",
        version="1",
        created="2026-01-01",
        alignment=DEFAULT_TEMPLATE,
        graphs=graphs,
        readers=readers,
        methods=methods,
    )


def photo_of(*faces: Colour) -> Pixels:
    """A photo with up to four faces of these colours, in pairs side by side; see ``place_of``."""
    side = 4 * CELL
    photo = np.zeros((side, side, 3), np.uint8)
    for index, colour in enumerate(faces):
        rows, columns = (slice(max(0, item.start - _MARGIN), item.stop + _MARGIN) for item in place_of(index))
        photo[rows, columns] = colour
    return photo


def place_of(index: int) -> tuple[slice, slice]:
    """Rows and columns of the face that came ``index``-th to ``photo_of``."""
    top, left = (2 * CELL * number for number in divmod(index, 2))
    return slice(top, top + CELL), slice(left, left + CELL)


def level_of(years: float) -> float:
    """The green that the age of ``years`` adds to a drawing."""
    return float(age_condition(PAPER_GROUPS, years) @ LEVELS)


def start_of(colour: Sequence[int]) -> Doubles:
    """The encoder's latent of a face of ``colour``."""
    return np.array([*(2 * np.asarray(colour) / 255 - 1), -0.5])


def drawn(latent: Sequence[float] | Doubles, level: float) -> Doubles:
    """The colour, in [0, 1], that the generator draws of ``latent``, at an age that adds ``level``."""
    red, green, blue, shown = latent
    return 0.5 + np.array([red, green, blue]) / 4 + np.array([0, level * (1 + shown), 0])


def terms_of(latent: Sequence[float] | Doubles, colour: Sequence[int], level: float) -> Doubles:
    """The three terms for a face that is ``colour`` all over."""
    face, picture = np.asarray(colour) / 255, drawn(latent, level)
    turned = _TURN * (picture[0] - face[0])
    return np.array(
        [
            np.square(picture - face).mean(),
            2 - 2 * np.cos(turned),
            np.square(np.asarray(latent, dtype=np.float64)).mean(),
        ]
    )


def loss_of(aim: Objective, latent: Sequence[float] | Doubles, colour: Sequence[int], level: float) -> float:
    """What a search for ``aim`` makes small."""
    return float(np.dot(WEIGHTS[aim], terms_of(latent, colour, level)))


def best_latent(aim: Objective, colour: Sequence[int], level: float) -> Doubles:
    """Where ``loss_of`` is smallest."""
    pixelwise, identity, prior = WEIGHTS[aim]
    if aim == "pixelwise":  # ridge regression
        slope = np.hstack([np.eye(3) / 4, np.array([[0], [level], [0]])])
        expected = np.asarray(colour) / 255 - drawn(np.zeros(LATENT), level)
        normal = pixelwise / 3 * slope.T @ slope + prior / LATENT * np.eye(LATENT)
        return np.linalg.solve(normal, pixelwise / 3 * slope.T @ expected)
    if aim == "identity":  # of red alone

        def derivative(red: float) -> float:
            turned = _TURN * (0.5 + red / 4 - colour[0] / 255)
            return float(identity * 2 * np.sin(turned) * _TURN / 4 + prior * 2 * red / LATENT)

        return np.array([brentq(derivative, -3, 3), 0, 0, 0])
    result = minimize(lambda latent: loss_of(aim, latent, colour, level), start_of(colour), method="BFGS", tol=1e-6)
    return np.asarray(result.x)
