"""Upload the files of a folder to the bucket `music` of the S3 server that the environment names.

    python deploy/compose/upload.py deploy/demo/tracks

Creates the bucket if it does not exist.
"""

import sys
from pathlib import Path

from storage.client import s3_client

BUCKET = "music"
PREFIX = "tracks"


def main() -> None:
    s3 = s3_client()
    s3.create_bucket(Bucket=BUCKET)
    files = sorted(Path(sys.argv[1]).iterdir())
    for file in files:
        s3.upload_file(str(file), BUCKET, f"{PREFIX}/{file.name}")
    print(f"{len(files)} files in s3://{BUCKET}/{PREFIX}/")


if __name__ == "__main__":
    main()
