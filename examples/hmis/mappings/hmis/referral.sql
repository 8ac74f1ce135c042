-- Coordinated entry's referrals. Event 2 (problem solving) is a service and no referral. The receiver is known only
-- where the event names the project that was to take the person in.
SELECT
    event.EventID AS referral_number,
    event.PersonalID AS local_person_id,
    'sent' AS direction,
    CASE receiver.OrganizationID
        WHEN '4' THEN 'organization_a'
        WHEN '6' THEN 'organization_b'
        WHEN '96' THEN 'organization_o'
        ELSE CASE WHEN receiver.ProjectID IS NULL THEN 'unknown' ELSE 'other' END
    END AS other_partner,
    event.EventDate AS sent_on,
    CASE WHEN event.ReferralResult = '1' THEN nullif(trim(event.ResultDate), '') END AS accepted_on,
    NULL AS first_contact_on,
    CASE event.ReferralResult
        WHEN '1' THEN 'accepted'
        WHEN '2' THEN 'withdrawn'
        WHEN '3' THEN 'declined'
        ELSE 'sent'
    END AS status,
    'unknown' AS assessment_passed_on
FROM event
JOIN enrollment ON enrollment.EnrollmentID = event.EnrollmentID AND coalesce(enrollment.DateDeleted, '') = ''
JOIN project ON project.ProjectID = enrollment.ProjectID
LEFT JOIN project AS receiver ON receiver.ProjectID = event.LocationCrisisOrPHHousing
WHERE project.OrganizationID = getvariable('organization_id')
  AND event.Event IN ('1', '3', '4', '5', '6', '7', '8', '9', '10', '11', '12', '13', '14', '15', '16', '17', '18')
  AND coalesce(event.DateDeleted, '') = ''
ORDER BY referral_number
