"""The trial: Airflow's own components and PostgreSQL on one machine, without containers, below one home folder."""
