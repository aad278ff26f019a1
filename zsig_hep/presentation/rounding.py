"""Numbers as text, rounded to their uncertainty."""

import math
from decimal import ROUND_HALF_EVEN, Decimal

MISSING = "–"
_THIN_SPACE = "\u202f"
_MINUS = "\u2212"
_NO_BREAK = "\u00a0"


def round_to_uncertainty(value: float, uncertainty: float) -> tuple[str, str]:
    """Round a value and its uncertainty by the rule of the Particle Data Group.

    The number of digits depends on the three leading digits of the uncertainty (Review of Particle Physics,
    introduction, section 5.3): with 100 to 354 it has two digits, with 355 to 949 one, and 950 to 999 are rounded up to
    1000 with two. The value is rounded to the same place. Digits in front of the decimal point that rounding removes
    become zeros.

    Args:
        value: any number.
        uncertainty: its standard deviation, >= 0.

    Returns:
        Both as text, with a true minus sign and thin spaces between thousands from five digits on. If the uncertainty
        is not positive and finite, the value has four significant digits, and the uncertainty is "0" or, if it is
        negative or not finite, a dash. A value that is not finite is a dash or an infinity sign.

    Example:
        >>> round_to_uncertainty(0.827, 0.119), round_to_uncertainty(0.827, 0.367), round_to_uncertainty(143.2, 9.96)
        (('0.83', '0.12'), ('0.8', '0.4'), ('143', '10'))
    """
    if not math.isfinite(value):
        return _not_finite(value), MISSING
    if not math.isfinite(uncertainty) or uncertainty <= 0:
        return significant(value), "0" if uncertainty == 0 else MISSING
    place = _last_place(uncertainty)
    return _at_place(value, place), _at_place(uncertainty, place)


def _last_place(uncertainty: float) -> int:
    mantissa, exponent = f"{uncertainty:.2e}".split("e")
    leading = round(float(mantissa) * 100)
    if leading < 355:
        return int(exponent) - 1
    return int(exponent)


def with_uncertainty(value: float | None, uncertainty: float | None) -> str:
    r"""Write "value ± uncertainty", rounded by `round_to_uncertainty`; a dash if the value is None.

    Example:
        >>> with_uncertainty(25.64, 0.2094)
        '25.64\xa0±\xa00.21'
    """
    if value is None:
        return MISSING
    if uncertainty is None:
        return significant(value)
    return f"{_NO_BREAK}±{_NO_BREAK}".join(round_to_uncertainty(value, uncertainty))


def significant(value: float | None, digits: int = 4) -> str:
    r"""Write a number with a number of significant digits; very large and small ones with a power of ten.

    Example:
        >>> significant(0.123456), significant(1234567.0), significant(5.868e-9)
        ('0.1235', '1\u202f235\u202f000', '5.868 × 10^−9')
    """
    if value is None:
        return MISSING
    if not math.isfinite(value):
        return _not_finite(value)
    if value == 0:
        return "0"
    exponent = int(f"{value:.{digits - 1}e}".split("e")[1])
    if not -5 < exponent < 9:
        mantissa = f"{value:.{digits - 1}e}".split("e")[0]
        return f"{mantissa} × 10^{exponent}".replace("-", _MINUS)
    return _at_place(value, exponent - digits + 1)


def signed(value: float, decimals: int = 1) -> str:
    r"""Write a shift with its sign and a fixed number of decimals.

    Example:
        >>> signed(1.26), signed(-0.004)
        ('+1.3', '0.0')
    """
    text = f"{value:+.{decimals}f}"
    return text.lstrip("+-") if not text.strip("+-0.") else text.replace("-", _MINUS)


def percent(fraction: float | None, digits: int = 3) -> str:
    r"""Write a fraction in per cent.

    Example:
        >>> percent(0.31209)
        '31.2\xa0%'
    """
    text = significant(None if fraction is None else 100 * fraction, digits)
    return text if fraction is None or not math.isfinite(fraction) else f"{text}{_NO_BREAK}%"


def _at_place(value: float, place: int) -> str:
    rounded = Decimal(repr(float(value))).quantize(Decimal(1).scaleb(place), rounding=ROUND_HALF_EVEN)
    text = f"{rounded:f}" if place < 0 else str(int(rounded))
    sign, digits = (_MINUS, text[1:]) if text.startswith("-") else ("", text)
    if not digits.strip("0."):
        sign = ""
    whole, dot, fraction = digits.partition(".")
    if len(whole) > 4:
        whole = f"{int(whole):,}".replace(",", _THIN_SPACE)
    return f"{sign}{whole}{dot}{fraction}"


def _not_finite(value: float) -> str:
    return MISSING if math.isnan(value) else ("∞" if value > 0 else f"{_MINUS}∞")
