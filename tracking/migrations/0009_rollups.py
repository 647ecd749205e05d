
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('tracking', '0008_attempts_by_address'),
    ]

    operations = [
        migrations.CreateModel(
            name='CountedHour',
            fields=[
                ('start', models.DateTimeField(primary_key=True, serialize=False)),
                ('changes', models.BigIntegerField(default=0)),
                ('counted', models.BigIntegerField(default=-1)),
            ],
            options={
                'default_permissions': (),
            },
        ),
        migrations.CreateModel(
            name='HourlyCount',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('start', models.DateTimeField()),
                ('subject', models.CharField(choices=[('VERDICT', 'VERDICT'), ('STATUS_CLASS', 'STATUS_CLASS'), ('ADDRESS', 'ADDRESS'), ('NETWORK', 'NETWORK'), ('COUNTRY', 'COUNTRY'), ('PATH', 'PATH'), ('LIMIT', 'LIMIT')], max_length=12)),
                ('value', models.CharField(max_length=255, null=True)),
                ('requests', models.BigIntegerField()),
                ('refused', models.BigIntegerField()),
                ('most', models.BigIntegerField(default=0)),
            ],
            options={
                'default_permissions': (),
                'constraints': [models.UniqueConstraint(fields=('start', 'subject', 'value'), name='hourlycount_value')],
            },
        ),
    ]
