"""The error bound: integers coded so that each comes back within E, on a base layer or on none. No torch."""

from eocodec.residual.layer import decode_residual, encode_residual

__all__ = ["decode_residual", "encode_residual"]
