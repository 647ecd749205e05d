from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('tracking', '0010_partitions'),
    ]

    operations = [
        migrations.AlterModelOptions(
            name='auditentry',
            options={
                'default_permissions': ('view',),
                'permissions': [
                    ('reset_limit', 'Can reset rate limits'),
                    ('manage_personal_data', 'Can export and erase personal data'),
                ],
                'verbose_name_plural': 'audit entries',
            },
        ),
    ]
