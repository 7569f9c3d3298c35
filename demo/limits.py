"""What the app takes, and the words that say so."""

PHOTO_MEGABYTES, PHOTO_MEGAPIXELS, PHOTO_SIDE = 30, 30, 30_000
PHOTOS = f"JPEG, PNG, WebP, TIFF, BMP, GIF or AVIF, up to {PHOTO_MEGABYTES} MB and {PHOTO_MEGAPIXELS} megapixels"
CLIP_MEGABYTES, CLIP_SECONDS, CLIP_SIDE, CLIP_RATE = 60, 20, 1280, 30
CLIPS = f"MP4, MOV, MKV, WebM, AVI and most other kinds of clips, up to {CLIP_MEGABYTES} MB"
CLIP_CUT = f"The first {CLIP_SECONDS} seconds are colored."
PHOTOS_AT_ONCE = 12
PHOTO_COUNT = f"This app takes up to {PHOTOS_AT_ONCE} photos at once."
TEMPERATURES = (0.05, 2.0)
TEMPERATURE_RANGE = f"{TEMPERATURES[0]:g} to {TEMPERATURES[1]:g}"
REPORT_PHOTOS = 12
REPORT = f"up to {REPORT_PHOTOS} photos in color: {PHOTOS} each"
CACHE_GIGABYTES = 8  # of uploads and results; the oldest are removed before they are an hour old
