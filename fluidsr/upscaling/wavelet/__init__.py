"""Wavelet turbulence (Kim, Thuerey, James and Gross 2008): adds detail to a coarse simulation without a network."""
