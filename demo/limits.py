"""What the app takes, and the words that say so."""

PHOTO_MEGABYTES, PHOTO_MEGAPIXELS, PHOTO_SIDE = 30, 30, 65_000
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
FREE_GIGABYTES = 1  # of the disk, which uploads leave to others
FULL = "So many files have just been sent to this app that it has no room for more. Try again in a minute."
UPLOAD_FILES = 2 * max(PHOTOS_AT_ONCE, REPORT_PHOTOS)  # more than the page takes, which says so in its own words
UPLOAD_MEGABYTES = max(PHOTOS_AT_ONCE, REPORT_PHOTOS) * PHOTO_MEGABYTES
UPLOADS = f"This app takes up to {UPLOAD_FILES} files, and {UPLOAD_MEGABYTES} MB of them, in one upload."
REQUEST_MEGABYTES = 1
REQUESTS_SIZE = f"A request may have {REQUEST_MEGABYTES} MB. Upload files first, and name them in the request."
JOBS, REQUESTS, REQUESTS_OF_ADDRESS = 4, 8, 12  # of one visitor: to color, of any kind, of a household; QUEUE for all
QUEUE = 20
_WAIT = "Wait until one of them is done."
JOBS_REACHED = f"Up to {JOBS} things to color may wait for one visitor at the same time. {_WAIT}"
REQUESTS_REACHED = f"Up to {REQUESTS} requests may wait for one visitor at the same time. {_WAIT}"
ADDRESS_REACHED = f"Up to {REQUESTS_OF_ADDRESS} requests may wait for one network at the same time. {_WAIT}"
