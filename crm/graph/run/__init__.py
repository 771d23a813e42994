"""Operations are run here, and answered."""
