"""Wavelet turbulence (Kim, Thuerey, James and Gross 2008): the classic way to more detail than was simulated."""
