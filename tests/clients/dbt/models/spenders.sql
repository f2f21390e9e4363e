{{ config(materialized='view') }}
SELECT c.name, s.total FROM {{ ref('spent') }} s JOIN {{ source('shop', 'customers') }} c ON c.id = s.customer
