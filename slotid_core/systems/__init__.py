"""The methods that put a person into a video, each in a folder of the same shape; `registry` lists them."""
