"""OPPRL tokens by spindle-token on Spark: ``opprl.py RECORDS.parquet TOKENS MEMORY``.

RECORDS has ``record`` and columns that are named after OPPRL's attributes. TOKENS gets ``record`` and a column a token,
as Parquet.
"""

import sys

from pyspark.sql import SparkSession
from spindle_token import generate_pem_keys, tokenize
from spindle_token.opprl import OpprlV2
from spindle_token.opprl._common import PhoneNumberAttribute

ATTRIBUTES = ("first_name", "last_name", "gender", "birth_date", "email", "phone", "ssn", "group_number", "member_id")
TOKENS = {
    "token1": ("first_name", "last_name", "gender", "birth_date"),
    "token2": ("first_name", "last_name", "gender", "birth_date"),
    "token3": ("first_name", "last_name", "gender", "birth_date"),
    "token4": ("first_name", "last_name", "birth_date"),
    "token5": ("first_name", "last_name", "birth_date"),
    "token6": ("first_name", "last_name", "birth_date"),
    "token7": ("first_name", "phone"),
    "token8": ("birth_date", "phone"),
    "token9": ("first_name", "ssn"),
    "token10": ("birth_date", "ssn"),
    "token11": ("email",),
    "token13": ("group_number", "member_id"),
}


def main() -> None:
    """Tokens of all records."""
    records, tokens, memory = sys.argv[1:4]
    spark = (
        SparkSession.builder.master("local[2]")
        .config("spark.driver.memory", memory)
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "8")
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")
    frame = spark.read.parquet(records)
    present = {name for name in ATTRIBUTES if name in frame.columns}
    # The same attribute that OPPRL declares, for numbers that are written without a country's prefix in Britain.
    mapping = {getattr(OpprlV2, name): name for name in present - {"phone"}}
    if "phone" in present:
        mapping[PhoneNumberAttribute(OpprlV2.phone.attr_id, "GB")] = "phone"
    wanted = [getattr(OpprlV2, token) for token, needs in TOKENS.items() if present.issuperset(needs)]
    private_key, _ = generate_pem_keys()
    made = tokenize(frame, mapping, wanted, private_key)
    made.select("record", *(token.name for token in wanted)).write.mode("overwrite").parquet(tokens)
    process = spark.sparkContext._gateway.proc
    spark.stop()
    # Waited for, so that the system counts Java's seconds to this process.
    process.stdin.close()
    process.wait()


if __name__ == "__main__":
    main()
