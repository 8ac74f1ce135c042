"""The steps that the DAGs and the command line call. No Airflow here, and no rule of the agreement either."""
